"""How MySQL's and MariaDB's drivers are called for an Airflow connection: its extras, or a sentence for one that can't be."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from airflow_provider_halo.exceptions import SetupError

if TYPE_CHECKING:
    from airflow.sdk import Connection

__all__ = ["MySqlLogin", "speaks_tls"]

# The extra `client` as Airflow's provider writes it → the module, and SQLAlchemy's name of the driver.
_CLIENTS: Final = {
    "mysqlclient": ("MySQLdb", "mysqldb"),
    "pymysql": ("pymysql", "pymysql"),
    "mysql-connector-python": ("mysql.connector", "mysqlconnector"),
}
# Rows are read by the places of their columns, always as utf8mb4 (a narrower charset would turn letters into question
# marks), and no file of this machine is ever given to a server: what these ask for has no effect here.
_NO_EFFECT: Final = frozenset({"cursor", "charset", "use_unicode", "local_infile", "aws_conn_id", "iam", "client"})
_SECONDS: Final = ("connect_timeout", "read_timeout", "write_timeout")
_TEXTS: Final = ("unix_socket", "init_command", "read_default_file", "read_default_group")
_TLS_FILES: Final = ("ca", "capath", "cert", "key", "cipher")
_TLS_CHECKS: Final = ("check_hostname", "verify_mode", "password")
_TLS_ONLY: Final = ("REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
_TLS_MODES: Final = ("DISABLED", "PREFERRED", *_TLS_ONLY)
_NO: Final = frozenset({"", "0", "false", "no", "none", "off"})


@dataclass(frozen=True, kw_only=True)
class MySqlLogin:
    """A connection's login.

    :param url: tells SQLAlchemy the driver, and nothing else: URLs are easily printed.
    :param arguments: what the driver is called with.
    :param needs_tls: whether the extras ask for TLS. The drivers fall back to plain text where the server has none.
    """

    url: sa.URL
    needs_tls: bool
    arguments: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, connection: Connection, where: str, *, ignored: frozenset[str]) -> MySqlLogin:
        """Read an Airflow connection of the type ``mysql``.

        :param where: the connection in an error, as the start of a sentence.
        :param ignored: extras that say nothing about connecting.
        :raises SetupError: for extras that can't be honoured, by name.
        :raises ImportError: when the driver isn't installed.
        """
        extras = {name: value for name, value in connection.extra_dejson.items() if name not in ignored}
        client = _client(extras.get("client"), where)
        tls = _Tls.of(extras, where)
        arguments = _arguments(connection, extras)
        if client == "mysqlclient" and extras.get("iam"):
            # As its hook does it: a token is sent as it is.
            arguments.setdefault("read_default_group", "enable-cleartext-plugin")
        arguments |= _FOR_CLIENT[client](arguments, tls, where)
        _refuse_rest(extras, client, where)
        return cls(url=sa.URL.create(f"mysql+{_CLIENTS[client][1]}"), needs_tls=tls.is_needed, arguments=arguments)


def speaks_tls(driver: Any) -> bool:
    """Whether a driver's connection is encrypted."""
    cursor = driver.cursor()
    try:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        row = cursor.fetchone()
    finally:
        cursor.close()
    return bool(row and row[1])


@dataclass(frozen=True, kw_only=True)
class _Tls:
    """What the extras ask of TLS, whichever way they say it.

    :param options: files and checks, as the extra `ssl` names them.
    :param mode: the extra `ssl_mode`; empty where it isn't given.
    :param asked: whether `ssl` or one of its files is given.
    """

    options: Mapping[str, Any]
    mode: str
    asked: bool

    @classmethod
    def of(cls, extras: Mapping[str, Any], where: str) -> _Tls:
        given = _ssl_of(extras, where)
        options = dict(given) if isinstance(given, dict) else {}
        names = (*_TLS_FILES, *_TLS_CHECKS)
        options |= {name: extras[f"ssl_{name}"] for name in names if extras.get(f"ssl_{name}") not in {None, ""}}
        unknown = sorted(set(options).difference(names))
        if unknown:
            raise SetupError(
                f"{where}: its extra ssl has unknown keys ({', '.join(unknown)}); known: {', '.join(names)}."
            )
        mode = str(extras.get("ssl_mode") or "").upper()
        if mode and mode not in _TLS_MODES:
            raise SetupError(f"{where}: its extra ssl_mode must be one of {', '.join(_TLS_MODES)}.")
        return cls(options=options, mode=mode, asked=bool(options) or _is_on(given))

    @property
    def is_needed(self) -> bool:
        """Whether plain text won't do."""
        return self.mode in _TLS_ONLY or (self.asked and not self.mode)

    def context(self) -> ssl.SSLContext:
        """The same for a driver that leaves TLS to Python."""
        options = self.options
        has_ca = bool(options.get("ca") or options.get("capath"))
        context = ssl.create_default_context(cafile=options.get("ca"), capath=options.get("capath"))
        # Python 3.13 asks more of certificates than those that MySQL makes for itself fulfil.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        verify = _is_on(options.get("verify_mode", has_ca)) or self.mode.startswith("VERIFY")
        named = _is_on(options.get("check_hostname", has_ca and self.mode != "VERIFY_CA"))
        context.check_hostname = verify and (named or self.mode == "VERIFY_IDENTITY")
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        if options.get("cert"):
            context.load_cert_chain(options["cert"], options.get("key"), options.get("password"))
        if options.get("cipher"):
            context.set_ciphers(options["cipher"])
        return context


def _arguments(connection: Connection, extras: Mapping[str, Any]) -> dict[str, Any]:
    """What all drivers are called with: where the server is, who logs in, and the extras that are passed on as they are."""
    arguments: dict[str, Any] = {
        "host": connection.host or "localhost",
        "port": int(connection.port or 3306),
        "user": connection.login,
        "password": connection.password or "",
        "database": connection.schema or "",
        "charset": "utf8mb4",
    }
    arguments |= {name: str(extras[name]) for name in _TEXTS if extras.get(name)}
    arguments |= {name: int(extras[name]) for name in _SECONDS if extras.get(name)}
    return arguments


def _ssl_of(extras: Mapping[str, Any], where: str) -> Any:
    """The extra `ssl`, an object where it is one or the text of one."""
    given = extras.get("ssl")
    if not isinstance(given, str) or not given.lstrip().startswith("{"):
        return given
    try:
        return json.loads(given)  # an extra of a connection in the form of a URI is always a text
    except ValueError:
        raise SetupError(f"{where}: its extra ssl is no JSON object.") from None


def _is_on(value: Any) -> bool:
    return bool(value) and str(value).strip().lower() not in _NO


def _client(name: Any, where: str) -> str:
    """Which driver to use: the one that is named, else the provider's own choice, else the one that needs no compiler."""
    if name is not None and name not in _CLIENTS:
        raise SetupError(f"{where}: its extra client must be one of {', '.join(_CLIENTS)}.")
    if name is not None:
        return str(name)
    return "pymysql" if find_spec("MySQLdb") is None and find_spec("pymysql") is not None else "mysqlclient"


def _for_mysqlclient(_: Mapping[str, Any], tls: _Tls, where: str) -> dict[str, Any]:
    checks = sorted(set(tls.options).intersection(_TLS_CHECKS))
    if checks:
        raise SetupError(
            f"{where}: mysqlclient can't be told {', '.join(f'ssl_{name}' for name in checks)}; say ssl_mode: VERIFY_IDENTITY, "
            "VERIFY_CA or REQUIRED instead, or client: pymysql."
        )
    arguments: dict[str, Any] = {"ssl": dict(tls.options)} if tls.options else {}
    mode = tls.mode or ("REQUIRED" if tls.asked and not tls.options else "")
    return arguments | ({"ssl_mode": mode} if mode else {})


def _for_pymysql(arguments: Mapping[str, Any], tls: _Tls, where: str) -> dict[str, Any]:
    # As bytes: PyMySQL would take a text's letters beyond ASCII in another encoding than all other clients.
    password = {"password": str(arguments["password"]).encode()}
    if tls.mode == "DISABLED" or not (tls.asked or tls.mode):
        return {**password, "ssl_disabled": True}
    try:
        return {**password, "ssl": tls.context()}
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        said = error.strerror if isinstance(error, OSError) else None
        raise SetupError(
            f"{where}: the TLS files of its extras can't be used ({said or type(error).__name__}): check ca, capath, cert, key "
            "and cipher, which must be there wherever tasks run."
        ) from None


def _for_connector(arguments: Mapping[str, Any], tls: _Tls, where: str) -> dict[str, Any]:
    unable = [
        name
        for name in ("read_timeout", "write_timeout", "read_default_file", "read_default_group")
        if name in arguments
    ]
    unable += ["ssl_mode"] if tls.mode not in {"", "DISABLED", "REQUIRED"} else []
    unable += [f"ssl: {name}" for name in ("capath", "password", "verify_mode") if name in tls.options]
    if unable:
        raise SetupError(
            f"{where}: mysql-connector-python can't honour {', '.join(unable)}; take it out of the extras, or use "
            "client: mysqlclient or pymysql."
        )
    named = {"check_hostname": "ssl_verify_identity", "cipher": "ssl_cipher"}
    made = {named.get(name, f"ssl_{name}"): value for name, value in tls.options.items()}
    if "ca" in tls.options:
        made["ssl_verify_cert"] = True
    return made | ({"ssl_disabled": True} if tls.mode == "DISABLED" else {})


_FOR_CLIENT: Final[Mapping[str, Callable[[Mapping[str, Any], _Tls, str], dict[str, Any]]]] = {
    "mysqlclient": _for_mysqlclient,
    "pymysql": _for_pymysql,
    "mysql-connector-python": _for_connector,
}


def _refuse_rest(extras: Mapping[str, Any], client: str, where: str) -> None:
    tls = {"ssl", "ssl_mode", *(f"ssl_{name}" for name in (*_TLS_FILES, *_TLS_CHECKS))}
    rest = sorted(set(extras).difference(_NO_EFFECT, _SECONDS, _TEXTS, tls))
    if rest:
        raise SetupError(
            f"{where} has extras that can't be honoured with {client} ({', '.join(rest)}): take them out, or say what they do "
            "in init_command or in the file of read_default_file."
        )
