"""A message's score, and how it is explained to people."""

from collections.abc import Sequence
from dataclasses import dataclass

from filterrelay_plugins.spam.classifier import Opinion
from filterrelay_plugins.spam.rule import Rule

from filterrelay.plugin import AddHeader


@dataclass(frozen=True, slots=True)
class Score:
    """Points, and the rules and the opinion that they come from."""

    points: float
    rules: Sequence[Rule]
    opinion: Opinion | None

    @property
    def text(self) -> str:
        """One line: the points and the strongest rules."""
        reasons = [rule.name for rule in self.rules[:4]]
        if self.opinion is not None:
            reasons.append(f"classifier {self.opinion.points:+.1f}")
        return f"{self.points:.1f} points ({', '.join(reasons) or 'nothing found'})"

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """The rules and tokens, the strongest first."""
        found = [(rule.name, f"{rule.points:+g} {rule.description}") for rule in self.rules]
        if self.opinion is not None:
            found.append(("classifier", f"{self.opinion.points:+.2f} {self._tokens()}"))
        return tuple(found)

    def field(self) -> AddHeader:
        """The score as a header field."""
        return AddHeader("X-Spam-Score", f"{self.points:.1f}")

    def fields(self) -> tuple[AddHeader, ...]:
        """What a tagged message is marked with."""
        return (
            AddHeader("X-Spam-Report", self._report()),
            self.field(),
            AddHeader("X-Spam-Flag", "YES"),
        )

    def _report(self) -> str:
        lines = [f"{rule.points:+.1f} {rule.name}: {rule.description}" for rule in self.rules]
        if self.opinion is not None:
            lines.append(
                f"{self.opinion.points:+.1f} classifier: {self.opinion.known} known tokens"
            )
        return "\r\n\t".join(lines)

    def _tokens(self) -> str:
        if self.opinion is None or not self.opinion.strongest:
            return "no known token"
        return ", ".join(f"{name} {odds:+.1f}" for name, odds in self.opinion.strongest)


def score_of(rules: Sequence[Rule], opinion: Opinion | None) -> Score:
    """The sum of the rules' points and the classifier's; the strongest rules come first."""
    points = sum(rule.points for rule in rules) + (opinion.points if opinion else 0.0)
    return Score(points, sorted(rules, key=lambda rule: -abs(rule.points)), opinion)
