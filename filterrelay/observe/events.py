"""Every event that the log can hold, and every field of them: docs/logs.md is made from this.

Plugins of others have events of their own, and libraries say what they like.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

Level = Literal["debug", "info", "warning", "error"]
Holds = Literal["plain", "address", "text"]


@dataclass(frozen=True, slots=True)
class Field:
    """What stands under one name, in whatever event.

    holds: address is a mail address or a login, or a list of them; text is somebody's words,
    in which addresses may stand. Both are made private where the file says so.
    """

    meaning: str
    holds: Holds = "plain"


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of line. fields: what it can have; not each line has all of them."""

    name: str
    level: Level
    fields: tuple[str, ...]
    meaning: str


COMMON: Mapping[str, Field] = {
    "at": Field("when, ISO 8601 in UTC"),
    "level": Field("debug, info, warning or error"),
    "event": Field("the event's name; of a library, its words", "text"),
    "logger": Field("the library that speaks"),
    "exception": Field("the traceback of a fault, without the values of variables", "text"),
}  # in lines of any kind

FIELDS: Mapping[str, Field] = {
    "about": Field("the ID of the message that is reported on"),
    "address": Field("the `IP:port` that was spoken to, or that nobody listens on"),
    "authorization": Field("whom a login asked to act as", "address"),
    "by": Field("the plugin that decided; empty when none did"),
    "client": Field("the client's IP address; empty for a local one"),
    "client_name": Field("its host name, where a mail server in front of us has told it"),
    "day": Field("the day that is reported on"),
    "delay": Field("seconds from acceptance to this result"),
    "delays": Field("where they went: `queue`, `connection`, `transaction`, each in seconds"),
    "domain": Field("a domain"),
    "door": Field("the listener's kind; `report` for the relay's own mail"),
    "exit_code": Field("as the system has it; negative for a signal"),
    "failure": Field("`error`, `timeout` or `skipped`"),
    "free": Field("free octets on the disk"),
    "generation": Field("which generation of processes; each reload begins one"),
    "header_message_id": Field("the field Message-ID, at most 250 characters"),
    "helo": Field("the name that the client gave itself"),
    "hook": Field("where in the conversation, as `on_recipient`"),
    "host": Field("a next hop's `name:port`"),
    "kind": Field("of a report: `failed`, `delayed`, `relayed` or `delivered`"),
    "lines": Field("a number of lines"),
    "listener": Field("the listener's name"),
    "listeners": Field("listeners' names"),
    "lived_seconds": Field("how long the process lived"),
    "login": Field("the authenticated name, or the one that was tried", "address"),
    "mechanism": Field("of the login: PLAIN or LOGIN"),
    "message_id": Field("the ID from the 250 reply; `filterrelay trace ID` tells all of it"),
    "messages": Field("a number of messages"),
    "mode": Field("of a filter: `enforce` or `shadow`; of MTA-STS: `enforce`, `testing` or `none`"),
    "needs": Field("the finding that a filter reads"),
    "origin": Field("the session that a message belongs to, behind a mail server"),
    "path": Field("a file, a folder, or what was asked of `[metrics]`"),
    "pid": Field("the process's number"),
    "plugin": Field("the plugin's name in the file"),
    "port": Field("the client's port"),
    "process": Field("a process's name, as `g2w0`: of generation 2, worker 0"),
    "processes": Field("a number of processes"),
    "protocol": Field("`SMTP` or `ESMTP`"),
    "queue_id": Field("what the mail server in front of us calls the message"),
    "reason": Field("why, for the operator", "text"),
    "recipient": Field("one recipient", "address"),
    "recipient_count": Field("how many recipients there are"),
    "recipients": Field("recipients; of a message the first five", "address"),
    "reply": Field("the SMTP reply: ours to a client, or the far side's", "text"),
    "result": Field("of a login: `ok`, `bad`, `locked`, `frozen` or `unavailable`"),
    "seconds": Field("a time limit or a pause, in seconds"),
    "selector": Field("the name below `_domainkey` that a DKIM key is published under"),
    "sender": Field("the envelope's sender; empty for the null sender", "address"),
    "session": Field("the ID of one client's connection"),
    "sessions": Field("a number of connections"),
    "size": Field("octets"),
    "state": Field("of a breaker, or of a milter's conversation"),
    "tls": Field("TLS's version, or `none`"),
    "tokens": Field("a number of words"),
    "trouble": Field("what is wrong with the spool, as the metrics call it"),
    "upstream": Field("the next hop: an upstream's name, or `mx` with the domain"),
    "uri": Field("where a report on TLS should go", "text"),
    "verdict": Field("`pass`, `reject`, `defer`, `quarantine` or `discard`"),
    "waits_for": Field("the plugins that were still at work"),
    "workers": Field("how many workers there are"),
}

SESSION = ("session", "client")  # bound to every line of one client's connection

# The name, the level, the fields, and the meaning below.
_CATALOGUE = """
== Mail
message info: message_id verdict by sender recipients recipient_count header_message_id size client
        client_name helo protocol queue_id login listener door reply
    A message has come in, and the client has this reply.
delivered info: message_id sender recipients upstream host address tls reply delay delays door
    A next hop has taken the message for these recipients.
deferred info: message_id sender recipients upstream host address tls reply delay delays door
    An attempt failed for now, and there will be another.
bounced info: message_id sender recipients upstream host address tls reply delay delays door
    It can't be delivered to these recipients.
removed debug: message_id
    All recipients of the message are done with.
refused info: hook by upstream reply session client client_name helo protocol login listener sender
        recipient
    A client, sender or recipient was refused before there was a message.
report_queued info: message_id about sender recipient_count header_message_id size
    The relay has written a bounce, a notice or a report, which is now in the queue.
login info: session client result login mechanism authorization reason
    A client tried to log in.

== Connections
connection_accepted debug: session client port listener
    A client connected.
connection_refused info: session client reason
    A client was turned away before the greeting.
refusal_unsaid debug: client reason
    A client that was turned away was gone before it could hear why.
session_ended debug: session client reply
    A client's connection ended.
session_failed error:
    A fault of ours ended a connection.
sessions_cut warning: sessions
    When the relay stopped, some connections were cut off unfinished.
cannot_accept error: reason
    The system has no file or buffer to spare for another connection.
client_named info: session client client_name helo login
    A mail server has said by XCLIENT who its client is.
origin_named debug: session client origin client_name helo queue_id
    A mail server has said by XFORWARD whose the next message is.
command_failed error: session client
    A fault of ours in answering a command: the client heard 451.
tls_failed info: session client reason
    A TLS handshake failed.
tls_where_none_is info: session client
    A client began TLS on a plain port.
login_not_reconfirmed warning: session client login reason
    Nobody could say whether a login is still good: its next message was put off.
authenticator_failed error: session client
    A fault of ours in checking a password or a login: the client heard 451.
passage_failed error: session client
    A fault of ours at a proxy listener: the client heard 451.
milter_broken warning: session client reason
    A mail server did not speak the milter protocol.
milter_cannot_edit error: reason
    A mail server does not allow an edit that a filter wants.
milter_cannot_say error: reply reason
    A mail server can't give its client this reply.
milter_failed error: session client
    A fault of ours at a milter listener.
milter_not_heard warning: session client queue_id
    The mail server was gone before it had our answer, and may send the message again.
milter_timed_out warning: session client state
    A mail server has been silent, or has not read, for too long.
milter_too_slow warning: session client seconds
    A filter took longer than the mail server waits.

== Taking mail in
spool_full error: free
    A message was put off because the disk is nearly full.
not_accepted error: reason
    A message was put off because of a trouble of ours.
intake_failed error: session client
    A fault of ours in judging a message or a command: the client heard 451.
not_handed_over error:
    A fault after a message was made safe; it is delivered a minute later.
outcome_not_told error:
    A fault after a message's outcome, which was perhaps not counted or traced.
trace_not_kept warning: message_id reason
    A message's trace has a gap.

== Filters and other plugins
chain_out_of_time warning: hook seconds waits_for
    All filters together took too long, and the mail was put off.
need_unmet warning: plugin needs listeners
    A filter reads a finding that no other filter gives it on these listeners.
plugin_answer_wrong error: plugin hook reason
    A plugin's answer can't be used.
plugin_breaker warning: plugin hook state
    A plugin that fails is left alone, is asked once to see, or works again.
plugin_failed error: plugin hook
    A plugin raised an error.
plugin_unanswered warning: plugin hook failure reason mode verdict
    A plugin gave no answer, and `on_error` decided.
plugin_unavailable warning: plugin reason
    What a plugin depends on doesn't answer when it is asked, which is every minute.
plugin_back info: plugin
    It answers again.
plugin_wont_stop warning: plugin
    A plugin goes on though its time is over.
shadow_route info: plugin upstream reason
    Where a plugin in shadow mode would have sent mail.
shadow_verdict info: plugin hook verdict reason
    What a filter in shadow mode would have done.
account_not_usable warning: plugin login reason
    A line of the user file is bad, and its login can't log in.
user_file_not_read error: plugin path reason
    The user file can't be read; what it said before still counts.
dkim_key_concern warning: plugin path reason
    A DKIM key should be better than it is.
dkim_key_not_published warning: domain selector reason
    DNS has not the key that a domain's mail is signed with: receivers will distrust it.
dkim_key_published info: domain selector reason
    It has the key now.
dkim_key_unreadable warning: reason
    A signing key can't be read, so it isn't looked for in DNS.
unsigned debug: plugin reason domain message_id
    A message got no DKIM signature.
spam_classifier_loaded info: plugin tokens
    What the spam filter has learnt is in use.
spam_classifier_silent error: plugin reason
    What the spam filter has learnt can't be used.

== Delivery
attempt_not_recorded error: message_id reason
    An attempt was put off because the disk is nearly full.
attempt_not_told error: message_id
    A fault after an attempt, which was perhaps not counted.
body_unreadable error: message_id reason
    A report goes out without the message that it is about.
converted info: message_id reason
    A message was made 7 bits for its next hop, and signed anew.
deleted_meanwhile info: message_id
    An operator deleted a message that was about to be sent.
taken_back_meanwhile info: message_id
    An operator held or redirected what was about to be sent.
delivery_failed error: message_id
    A fault of ours in an attempt, which counts as deferred.
handshake_failed info: upstream host reason tls
    A TLS handshake with a host failed; the next try is with what `tls` says.
hop_not_usable error: upstream
    A fault in opening a next hop; its mail waits.
hop_rests warning: upstream host reply seconds
    A next hop asks for patience, and gets it for that long.
host_back info: upstream host
    A host that had failed takes connections again.
lease_lost warning: message_id
    A message took so long here that another process may deliver it now.
lease_not_returned warning: message_id reason
    A message can't be given back, and waits until its lease ends.
leases_not_returned warning:
    When the relay stopped, some mail could not be given back.
nobody_told warning: message_id recipients
    A bounce can't be delivered, and there is no postmaster to tell.
not_passed_on warning: upstream reason
    The next hop of a proxy listener can't be reached.
not_signed_again error: message_id reason
    A converted message can't be signed now, and waits.
probe_failed error:
    A fault in looking whether a next hop is back.
report_not_sent error: message_id kind reason
    A report could not be queued; a bounce is tried again later.
result_lost error: message_id
    A fault in writing a result down; the message may be sent once more.
result_not_recorded error: message_id reason
    The spool can't write a result down; it is tried until it can.
route_unknown error: upstream
    A plugin or an operator named an upstream that isn't there; the mail waits.
routing_failed error: recipient
    A fault in finding a recipient's way; the mail waits.
spool_unreadable error: reason
    The spool can't be asked for due mail.
sts_policy_fetched info: domain mode
    A domain's MTA-STS policy was fetched.
sts_policy_not_fetched warning: domain reason
    A domain's MTA-STS policy can't be fetched.
sts_policy_not_kept warning: domain reason
    A domain's MTA-STS policy can't be written to disk.
sts_policy_unreadable warning: domain reason
    A domain's MTA-STS policy on disk can't be read.
tls_report_not_made error: domain day
    A fault in writing a report on TLS.
tls_report_not_sent warning: domain uri reason
    A report on TLS was not sent.
tls_report_sent info: domain day
    A report on TLS is on its way.
tls_reports_failed error:
    A fault in sending reports on TLS.
tls_result_unreadable warning: path
    Results for a report on TLS can't be read.
tls_results_not_kept warning: reason
    Results for reports on TLS can't be written to disk.

== Processes, disk and log
passed_socket_not_used warning: listener address
    systemd passed a socket that no listener of the file is at.
serving info: workers pid
    The relay takes mail.
stopping info:
    The relay was told to stop, and drains.
stopped info:
    The relay has ended in order.
reloaded info: generation
    The configuration file as it is now is in force.
reload_failed error:
    A fault while the file was read; the former configuration stays in force.
reload_refused error: reason
    The file can't be served; the former configuration stays in force.
reload_waits warning: generation
    A reload waits for the oldest generation to end.
generation_ended info: generation
    The last session of a generation before a reload has ended.
killed_overdue warning: generation processes
    Processes that took too long to end were killed.
process_died error: process lived_seconds exit_code
    A process died, and is started again.
process_failed error: process reason
    A process can't go on.
cannot_fork error: process reason
    The system gives no new process; it is tried again.
running_as_root warning: reason
    The relay runs as root, since there is no user to become.
configuration warning: reason
    Something in the configuration file is dangerous or has no effect.
waiting_for_predecessor warning: path
    Another relay still works in the state directory.
leases_recovered info: messages
    The mail of a dead process is taken over.
worker_ailing error: reason
    A worker can't write to the spool.
worker_silent error: process
    A worker hangs; standard error has where. 90 seconds later it is ended, and another one starts.
spool_ailing error: trouble reason
    The spool or its disk has a trouble.
notes_not_read warning: path reason
    What a process noted for the top lists and exemplars can't be read.
figures_not_kept error: path reason
    A process's metrics have no room on the disk, so no scrape sees what it counts.
http_failed error: path
    A request to `[metrics]` failed by a fault of ours.
queue_not_counted error: reason
    The queue can't be counted; its metrics are old.
not_cleaned_up error: reason
    What was kept long enough can't be removed now.
expired info: messages
    What was kept long enough was removed.
background_work_failed error:
    A fault in work that nobody waits for.
commit_not_followed_up error:
    A fault after a commit; the mail is safe.
message_unreadable error: message_id reason
    A message in the spool is broken, and is set aside.
message_not_held error: message_id reason
    A broken message can't be set aside now.
log_lines_lost warning: lines
    The journal did not take so many lines.
log_key_not_kept error: path reason
    Addresses are hashed with a key that each process makes for itself.
mail_log_not_written error: path reason
    The mail log can't be written; its lines are lost until it can.
mail_log_written_again warning: path lines
    The mail log can be written again; so many events are missing.
"""


def _read(catalogue: str) -> Mapping[str, tuple[Event, ...]]:
    """The events by the headings above them."""
    groups: dict[str, list[Event]] = {}
    heading = ""
    for block in re.split(r"\n(?=\S)", catalogue.strip()):
        if block.startswith("== "):
            heading = block.strip().removeprefix("== ")
            continue
        *lines, meaning = block.strip().splitlines()
        about, _, fields = " ".join(lines).partition(":")
        name, level = about.split()
        event = Event(name, cast("Level", level), tuple(fields.split()), meaning.strip())
        groups.setdefault(heading, []).append(event)
    return {name: tuple(group) for name, group in groups.items()}


GROUPS = _read(_CATALOGUE)


def events() -> Iterable[Event]:
    """All of them."""
    for group in GROUPS.values():
        yield from group
