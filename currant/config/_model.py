"""The tables, keys and types of a configuration, for pydantic.

`schema.json` is made from these classes, so editors show the descriptions.  A key has the name of
the option in Python.  pydantic checks the types of the values, and the library checks the values
when `_build` builds the commands; the limits of numbers are repeated here for editors.

Only `_load` imports this module, because pydantic takes longer than the rest of currant together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError, core_schema

from currant._values.command import Condition
from currant._values.launch_spec import KillMode, Leftovers
from currant._values.policies import KillOthersOn
from currant._values.restart import RestartWhen
from currant.config._variables import Expanded
from currant.sinks import Color

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

__all__ = [
    "SIZE",
    "TABLES",
    "VARIABLE_NAME",
    "CommandTable",
    "ProbeTable",
    "Table",
    "TopTable",
    "kind_of",
    "own_keys",
]


KINDS: Sequence[tuple[type | tuple[type, ...], str]] = (
    (bool, "<flag>"),  # before the numbers, of which a bool is one
    ((int, float), "<number>"),
    (str, "<text>"),
    (list, "<list>"),
    ((dict, BaseModel), "<table>"),
)
"""The tag of each kind of value; the tag chooses the member of a union."""


def kind_of(value: object) -> str:
    """Return the tag of the kind of a value."""
    return next((tag for kinds, tag in KINDS if isinstance(value, kinds)), "<other>")


BY_KIND = Discriminator(kind_of)


class _OrVariable:
    """Lets a number or a truth value be a text with a variable, such as ``"${WORKERS:-2}"``."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(_as_number, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": r"\$\{"}]}


def _as_number(value: object) -> object:
    """Return a text with a variable as a number or a truth value, if it is one."""
    if not isinstance(value, Expanded):
        return value
    words = {"true": True, "false": False}
    if value in words:
        return words[value]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


class _OrLine:
    """Lets a command be a text, a line for the shell, instead of a table."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(_as_table, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        line = {"type": "string", "minLength": 1, "description": "A line for the shell."}
        return {"anyOf": [line, handler(schema)]}


def _as_table(value: object) -> object:
    return {"command": value} if isinstance(value, str) else value


OR_VARIABLE = _OrVariable()

SIZE = "^[1-9][0-9]*[kKmMgG]?$"
VARIABLE_NAME = "^[^=]+$"

Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False), OR_VARIABLE]
PositiveSeconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False), OR_VARIABLE]
Count: TypeAlias = Annotated[int, Field(ge=1), OR_VARIABLE]
Replicas: TypeAlias = Annotated[int, Field(ge=1, le=10_000), OR_VARIABLE]
Whole: TypeAlias = Annotated[int, Field(ge=0), OR_VARIABLE]
Flag: TypeAlias = Annotated[bool, OR_VARIABLE]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535), OR_VARIABLE]
ExitCode: TypeAlias = Annotated[int, Field(ge=0, le=255), OR_VARIABLE]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
Texts: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[Text], Tag("<list>")], BY_KIND
]
Words: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[str], Field(min_length=1), Tag("<list>")],
    BY_KIND,
]
Wrap: TypeAlias = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[str], Tag("<list>")], BY_KIND
]
Size: TypeAlias = Annotated[
    Annotated[int, Field(ge=1), Tag("<number>")]
    | Annotated[str, Field(pattern=SIZE), Tag("<text>")],
    BY_KIND,
]
Account: TypeAlias = Annotated[
    Annotated[int, Field(ge=0), Tag("<number>")] | Annotated[Text, Tag("<text>")], BY_KIND
]
Signal: TypeAlias = Annotated[
    Annotated[int, Field(ge=1), Tag("<number>")] | Annotated[Text, Tag("<text>")], BY_KIND
]
Variable: TypeAlias = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[int, Tag("<number>")], BY_KIND
]
Variables: TypeAlias = dict[Annotated[str, Field(pattern=VARIABLE_NAME)], Variable]


def _option(description: str, *examples: object, **more: Any) -> Any:  # noqa: ANN401 - as pydantic.Field
    """Return an optional key; `Table.has` returns whether the file has it."""
    return Field(default=None, description=description, examples=list(examples) or None, **more)


class Table(BaseModel):
    """The base class of all tables: no unknown keys, and no values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)

    def has(self, name: str) -> bool:
        """Return whether a key is there."""
        return name in self.model_fields_set


def _require_one_of(*keys: str) -> dict[str, Any]:
    """Return the rule of a schema that exactly one of these keys is there."""
    return {"oneOf": [{"required": [key]} for key in keys]}


def _require_any_of(*keys: str) -> dict[str, Any]:
    """Return the rule of a schema that at least one of these keys is there."""
    return {"anyOf": [{"required": [key]} for key in keys]}


def _check_one_of(table: Table, names: tuple[str, ...]) -> None:
    """Raise an error if a table does not have exactly one of several keys."""
    given = [key_of(table, name) for name in names if table.has(name)]
    if len(given) != 1:
        known = ", ".join(key_of(table, name) for name in names)
        found = f"got {' and '.join(given)}" if given else "got none of them"
        text = "{found}, expected exactly one of the keys {known}"
        raise PydanticCustomError("one_of", text, {"found": found, "known": known})


def key_of(table: Table | type[Table], name: str) -> str:
    """Return the key of a field."""
    model = table if isinstance(table, type) else type(table)
    return model.model_fields[name].alias or name


def own_keys(table: type[Table]) -> list[str]:
    """Return all keys that a table may have."""
    return [key_of(table, name) for name in table.model_fields]


class RestartTable(Table):
    """When to restart a command that has ended by itself, and after which delay."""

    when: RestartWhen = Field(description="After which ends the command is restarted.")
    max_restarts: Whole = _option("Give up after this many restarts in a row.", 5)
    delay: Seconds = _option("Seconds before the first restart; 0.1 by default.", 1.0)
    factor: Annotated[float, Field(ge=1, allow_inf_nan=False), OR_VARIABLE] = _option(
        "Multiplies each further delay; 2 by default.", 2
    )
    max_delay: Seconds = _option("The longest delay in seconds; 30 by default.", 30)
    jitter: Annotated[float, Field(ge=0, le=1), OR_VARIABLE] = _option(
        "Varies each delay at random by up to this share, from 0 to 1; 0.1 by default.", 0.1
    )
    reset_after: Seconds = _option(
        "After an attempt that was up for this many seconds, the count and the delay begin anew; "
        "10 by default.",
        10,
    )


class PtyTable(Table):
    """The size of a pseudo-terminal."""

    rows: Port = _option("The number of lines; 24 by default.", 24)
    columns: Port = _option("The number of characters in a line; 80 by default.", 80)


class WatchTable(Table):
    """The files that a command depends on."""

    paths: Texts = Field(
        description="Files and folders, relative to cwd.", examples=["src", ["src", ".env"]]
    )
    include: Texts = _option("Patterns of the files that count.", ["*.py", "*.html"])
    ignore: Texts = _option("Patterns of files that do not count; ! takes one back.", "*_test.py")
    debounce: Seconds = _option("Seconds without another change before the restart; 0.2.", 1)
    action: Text = _option("restart, or a signal to send to the command.", "HUP")


class LimitsTable(Table):
    """What each process of a command may use."""

    memory: Size = _option("Bytes of address space; with k, M or G: KiB, MiB or GiB.", "512M")
    cpu_time: Count = _option("Whole seconds of processor time.", 60)
    file_size: Size = _option("Bytes of a file that the process writes.", "1G")
    open_files: Count = _option("How many files the process may have open.", 1024)
    processes: Count = _option("How many processes and threads the user may have.", 200)
    core: Whole = _option("Bytes of a core dump; 0: none.", 0)


class CaptureTable(Table):
    """Which part of the output to keep in memory or in a file."""

    head: Whole = _option("The number of first bytes of each stream.", 4096)
    tail: Whole = _option("The number of last bytes of each stream.", 65536)
    spill: Text = _option("A file for all of the output; {name} is the command.", "logs/{name}.out")


class FileTable(Table):
    """A file that gets the output."""

    file: Text = Field(description="The path, from the folder of the command on.")


class InputTable(Table):
    """What the command reads from its stdin."""

    model_config = ConfigDict(json_schema_extra=_require_one_of("file", "text"))

    file: Text = _option("The path of a file, from the folder of the command on.", "in.txt")
    text: str = _option("The input itself, followed by its end.", "yes\n")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_one_of(self, ("file", "text"))
        return self


class ProbeTable(Table):
    """A check of whether a command is ready, or alive; it has one of the first seven keys."""

    model_config = ConfigDict(
        json_schema_extra={
            **_require_one_of("tcp", "http", "line", "command", "delay", "all", "any"),
            "dependencies": {
                "own": _require_any_of("tcp", "http"),
                "status": ["http"],
                "stream": ["line"],
                "raw": ["line"],
            },
        }
    )

    tcp: Annotated[
        Annotated[int, Field(ge=1, le=65535), Tag("<number>")] | Annotated[Text, Tag("<text>")],
        BY_KIND,
    ] = _option("A port that accepts connections, on this machine or as HOST:PORT.", 5432)
    http: Text = _option("A URL that answers a GET request.", "http://127.0.0.1:8000/health")
    line: str = _option("A regular expression that matches a line of the output.", "^Listening")
    command: Words = _option("A command that succeeds: a shell line, or words.", "pg_isready -q")
    delay: PositiveSeconds = _option("Seconds to wait.", 2)
    all_: list[Probe] = _option("Probes that all must succeed.", alias="all", min_length=1)
    any_: list[Probe] = _option("Probes of which one must succeed.", alias="any", min_length=1)

    own: Flag = _option(
        "With tcp and http: whether the port must belong to the command itself; true by default. "
        "False for a server that docker starts."
    )
    status: Annotated[
        Annotated[int, Field(ge=100, le=599), Tag("<number>")]
        | Annotated[
            list[Annotated[int, Field(ge=100, le=599)]], Field(min_length=1), Tag("<list>")
        ],
        BY_KIND,
    ] = _option(
        "With http: the status code that is expected, or several; by default any from 200 to 399.",
        204,
    )
    stream: Literal["stdout", "stderr"] = _option("With line: the stream; both by default.")
    raw: Flag = _option("With line: whether escape sequences are searched, too.")
    interval: PositiveSeconds = _option(
        "Seconds between two checks; by default 0.1 until the command is ready, then 5.", 0.5
    )
    timeout: PositiveSeconds = _option(
        "Seconds until a command must be ready (60 by default), or that one check of alive may "
        "take (1 by default).",
        30,
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_one_of(self, PROBES)
        for option, kinds in PROBE_OPTIONS.items():
            if self.has(option) and not any(self.has(kind) for kind in kinds):
                text = "the key {option} is only for {kinds}"
                context = {"option": option, "kinds": " and ".join(kinds)}
                raise PydanticCustomError("option", text, context)
        return self


PROBES = ("tcp", "http", "line", "command", "delay", "all_", "any_")
PROBE_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "own": ("tcp", "http"),
    "status": ("http",),
    "stream": ("line",),
    "raw": ("line",),
}
"""The keys that are for some probes only."""

Probe: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[ProbeTable, Tag("<table>")], BY_KIND
]
Restart: TypeAlias = Annotated[
    Annotated[RestartWhen, Tag("<text>")] | Annotated[RestartTable, Tag("<table>")], BY_KIND
]
Capturing: TypeAlias = Annotated[
    Annotated[bool, Tag("<flag>")]
    | Annotated[int, Field(ge=0), Tag("<number>")]
    | Annotated[CaptureTable, Tag("<table>")],
    BY_KIND,
]
Stdin: TypeAlias = Annotated[
    Annotated[Literal["open", "null", "pipe"], Tag("<text>")]
    | Annotated[InputTable, Tag("<table>")],
    BY_KIND,
]

CWD = "The folder to run in, from the folder of this file on."
ENV = "Variables, in addition to those of currant's environment."
ENV_FILE = "Files of variables, one NAME=value per line, from the folder of this file on."
GRACE = "Seconds between the request to stop and SIGKILL; 5 by default."
KILL_MODE = "Ask the whole process group to stop, or (mixed) its first process alone."
LEFTOVERS = "What happens to processes that the first process leaves behind when it exits."
RESTART = "When a command that has ended by itself is restarted."
STOP_SIGNAL = "The signal that asks a command to stop: a name or a number; TERM by default."
IDLE_TIMEOUT = "Stop a command that writes nothing for this many seconds; it has failed."
MAX_OUTPUT = "Stop a command that writes more bytes than this; with k, M or G: KiB, MiB or GiB."
STDIN = (
    "What a command reads: open (a pipe that stays open and silent), null (/dev/null), or pipe "
    "(what is sent to it)."
)
WRAP = "Words to put before those of the command, such as 'nice -n 10'."
CAPTURE = "Which part of the output results keep: a number of last bytes, all, or a table."


class CommandTable(Table):
    """A command, and how it is run."""

    command: Words = Field(
        description="What to run: a line for the shell, or an array of words that are run "
        "without a shell.",
        examples=["uvicorn web:app --reload", ["python", "-m", "http.server"]],
    )
    after: Annotated[
        Annotated[Text, Tag("<text>")]
        | Annotated[list[Text], Tag("<list>")]
        | Annotated[dict[Text, Condition], Tag("<table>")],
        BY_KIND,
    ] = _option(
        "The commands to wait for, which are then ready, or started if they have no probe; in a "
        "table: what to wait for.",
        "db",
        ["db", "redis"],
        {"migrate": "succeeded"},
    )
    ready: Probe = _option(
        "When the command is ready: tcp:PORT, http://URL, line:PATTERN, command:LINE, "
        "delay:SECONDS, or a table.",
        "tcp:5432",
        "http://127.0.0.1:8000/health",
        "line:^Listening",
    )
    alive: Probe = _option(
        "What is checked again and again while the command is ready.", "http://127.0.0.1:8000/"
    )
    watch: Annotated[
        Annotated[Text, Tag("<text>")]
        | Annotated[list[Text], Field(min_length=1), Tag("<list>")]
        | Annotated[WatchTable, Tag("<table>")],
        BY_KIND,
    ] = _option(
        "Files and folders: if one changes, the command is restarted, or gets a signal.",
        "src",
        ["src", ".env"],
        {"paths": "nginx.conf", "action": "HUP"},
    )
    restart_with: Texts = _option(
        "Restart the command when one of these has been restarted and is up again.", ["db"]
    )
    failure_threshold: Count = _option("How many failures of alive in a row end an attempt; 3.", 3)
    restart: Restart = _option(RESTART, "on-failure", {"when": "always", "max_restarts": 5})
    kill_others_on: KillOthersOn = _option("Stop all commands when this one ends this way.")
    profiles: list[Text] = _option(
        "Start the command only if it is named, needed by another one, or one of these profiles is "
        "chosen with --profile.",
        ["debug"],
    )
    hidden: Flag = _option("Whether the output is not shown; a log file still gets it.")
    color: Text = _option("The colour of the name.", "cyan", "bold #ff8800")
    replicas: Replicas = _option("The number of copies to run: web becomes web.1 to web.N.", 2)
    cwd: Text = _option(CWD, "api")
    env: Variables = _option(ENV, {"DEBUG": "1"})
    env_file: Texts = _option(ENV_FILE, ".env.test", [".env", ".env.local"])
    inherit_env: Flag = _option("Whether the command has the variables of currant's environment.")
    stdin: Stdin = _option(STDIN, "null", {"file": "in.txt"})
    stdout: Annotated[
        Annotated[Literal["inherit"], Tag("<text>")] | Annotated[FileTable, Tag("<table>")],
        BY_KIND,
    ] = _option("Where stdout goes instead of to currant; inherit: to currant's own stdout.")
    stderr: Annotated[
        Annotated[Literal["separate", "stdout", "inherit"], Tag("<text>")]
        | Annotated[FileTable, Tag("<table>")],
        BY_KIND,
    ] = _option("Where stderr goes; by default, merge decides.")
    pty: Annotated[
        Annotated[bool, Tag("<flag>")] | Annotated[PtyTable, Tag("<table>")], BY_KIND
    ] = _option("Whether the command runs on a terminal of its own.", {"columns": 120})
    stop_command: Words = _option(
        "What stops the command, before any signal: a line for the shell, or an array of words.",
        "redis-cli shutdown nosave",
    )
    stop_signal: Signal = _option(STOP_SIGNAL, "INT")
    grace: Seconds = _option(GRACE, 10)
    kill_mode: KillMode = _option(KILL_MODE)
    leftovers: Leftovers = _option(LEFTOVERS)
    timeout: PositiveSeconds = _option("Stop an attempt that takes longer; it has failed.", 60)
    idle_timeout: PositiveSeconds = _option(IDLE_TIMEOUT, 60)
    max_output: Size = _option(MAX_OUTPUT, "10M")
    success_codes: list[ExitCode] = _option("The exit codes that count as success.", [0, 3])
    limits: LimitsTable = _option("What each process may use.", {"memory": "512M"})
    nice: Annotated[int, Field(ge=-39, le=39), OR_VARIABLE] = _option("How much to give way.", 5)
    umask: Annotated[int, Field(ge=0, le=0o777), OR_VARIABLE] = _option(
        "The permissions that new files do not get; 0o077 in TOML.", 0o077
    )
    user: Account = _option("The user to run as.", "www-data")
    group: Account = _option("The group to run as.", "www-data")
    extra_groups: list[Account] = _option("The supplementary groups.", ["docker"])
    wrap: Wrap = _option(WRAP, "nice -n 10")
    host: Text = _option("The host to run on, if there are hosts.", "gpu1")
    resources: dict[Text, Whole] = _option("What the command needs of its host.", {"gpus": 1})
    capture: Capturing = _option(CAPTURE, {"spill": "logs/{name}.out"})
    line_limit: Count = _option("The most bytes of a line that stay together; 65536.", 65536)
    flush_after: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False), Tag("<number>")]
        | Annotated[Literal["auto", "never"], Tag("<text>")],
        BY_KIND,
    ] = _option("Seconds of silence after which an unfinished line is shown.", 0.1)


class TopTable(Table):
    """The settings for all commands, and the commands themselves."""

    schema_: str = _option("The schema of this file, for editors.", alias="$schema")
    commands: dict[Text, Annotated[CommandTable, _OrLine()]] = Field(
        description="The commands by name: a shell line, or a table.",
        examples=[{"web": "uvicorn web:app", "db": {"command": "postgres", "ready": "tcp:5432"}}],
    )
    env: Variables = _option(ENV, {"DEBUG": "1"})
    env_file: Texts = _option(f"{ENV_FILE}  By default .env, if it exists.", ".env.dev")
    cwd: Text = _option(f"{CWD}  By default that folder.", "app")
    restart: Restart = _option(RESTART, "on-failure")
    kill_others_on: KillOthersOn = _option("Stop all commands when one ends this way.", "failure")
    max_processes: Count = _option("How many commands may run at the same time.", 4)
    timeout: PositiveSeconds = _option("Seconds that everything may take; then all stop.", 3600)
    grace: Seconds = _option(GRACE, 10)
    stop_signal: Signal = _option(STOP_SIGNAL, "INT")
    kill_mode: KillMode = _option(KILL_MODE)
    leftovers: Leftovers = _option(LEFTOVERS)
    idle_timeout: PositiveSeconds = _option(IDLE_TIMEOUT, 60)
    max_output: Size = _option(MAX_OUTPUT, "10M")
    stdin: Literal["open", "null", "pipe"] = _option(STDIN)
    cgroup: Annotated[
        Annotated[bool, Tag("<flag>")] | Annotated[Literal["auto"], Tag("<text>")], BY_KIND
    ] = _option("Whether each command has a control group of Linux; auto: if that is possible.")
    wrap: Wrap = _option(WRAP, "nice -n 10")
    capture: Capturing = _option(CAPTURE, 65536)
    prefix: str = _option(
        "The prefix of each line: name, index, command, pid, time, none, or a text with fields.",
        "{time} {name} | ",
    )
    prefix_length: Count = _option("The characters of a command line in a prefix; 10.", 20)
    timestamps: Flag = _option("Whether the time of day is before each line.")
    raw: Flag = _option("Whether the output is shown unchanged, without prefixes.")
    group_: Flag = _option("Whether the output of a command is one block.", alias="group")
    merge: Flag = _option("Whether stderr is shown on stdout, in the order written.")
    color: Color = _option("When names are coloured; auto: on a terminal.")
    json_: Flag = _option("Whether each line and event is a JSON object.", alias="json")
    quiet: Flag = _option("Whether currant's own messages are hidden.")
    log_dir: Text = _option("A folder that gets the output of each command as NAME.log.", "logs")
    log_size: Size = _option("The size at which another log file begins.", "10M")
    summary: Flag = _option("Whether a table at the end shows how each command ended.")
    timings: Flag = _option("Whether a table at the end shows when each command ran.")
    success: Text = _option(
        "Whose failure sets the exit status: all, first, last, NAME or !NAME.", "!web"
    )


TABLES: Mapping[str, type[Table]] = {
    "restart": RestartTable,
    "pty": PtyTable,
    "watch": WatchTable,
    "limits": LimitsTable,
    "capture": CaptureTable,
    "stdin": InputTable,
    "stdout": FileTable,
    "stderr": FileTable,
    "ready": ProbeTable,
    "alive": ProbeTable,
    "all": ProbeTable,
    "any": ProbeTable,
}
"""The tables that a table may contain, by their key."""
