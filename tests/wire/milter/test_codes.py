"""The codes are those of libmilter's mfdef.h and mfapi.h."""

from filterrelay.wire.milter.codes import CHUNK, Action, Command, Family, Stage, Step


def test_commands_have_their_letters() -> None:
    """SMFIC_*; a letter is one command alone."""
    assert bytes(sorted(Command)).decode() == "ABCDEHKLMNOQRTU"


def test_actions_are_the_bits_of_version_6() -> None:
    """SMFIF_*, 0x1FF in all."""
    assert sum(Action) == 0x1FF
    assert Action.CHANGE_HEADERS.value == 0x10
    assert Action.QUARANTINE.value == 0x20
    assert Action.SET_SYMBOLS.value == 0x100


def test_steps_are_the_bits_of_version_6() -> None:
    """SMFIP_*, 0x1FFFFF in all, and the two sizes."""
    assert sum(Step) == 0x301FFFFF
    assert Step.QUIET_HEADERS.value == 0x80  # SMFIP_NR_HDR
    assert Step.NO_DATA.value == 0x200
    assert Step.SKIP.value == 0x400
    assert Step.REJECTED_RECIPIENTS.value == 0x800
    assert Step.QUIET_BODY.value == 0x80000
    assert Step.LEADING_SPACE.value == 0x100000


def test_stages_and_families_have_their_codes() -> None:
    """SMFIM_*, where the end of the message is before that of the header, and SMFIA_*."""
    assert [stage.name for stage in sorted(Stage)][-2:] == ["END_OF_MESSAGE", "END_OF_HEADER"]
    assert {family.value for family in Family} == set("UL46")
    assert CHUNK == 65535
