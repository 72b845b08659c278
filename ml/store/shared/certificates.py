"""Certificates that are not trusted, told from other trouble of a connection."""

from collections.abc import Iterator

from ml.errors import ConfigError


def check_certificate(error: BaseException, source: str, *, variable: str) -> None:
    """Raise ConfigError if the error comes from an untrusted certificate; `variable` is where trusted ones are set."""
    for cause in causes(error):
        if getattr(cause, "library", "") in ("X509", "PEM"):
            raise no_certificates(variable) from None
        if reason := getattr(cause, "verify_message", ""):  # which only the ssl module's own error has
            raise ConfigError(
                f"the server's certificate is not trusted: {reason.rstrip('.')[:200]}",
                where=source,
                fix=f"set {variable} to a file (PEM) with the certificate of who signed it, or renew it",
            ) from None


def no_certificates(variable: str) -> ConfigError:
    """Return the error of a file of certificates that cannot be read."""
    fix = "name a file (PEM) of certificates, or unset the variable"
    return ConfigError("the file of trusted certificates cannot be read", where=variable, fix=fix)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, its causes, and the errors that urllib3 and aiohttp keep inside it."""
    waiting: list[object] = [error]
    seen = set[int]()
    while waiting:
        current = waiting.pop()
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            inner = (
                getattr(current, name, None) for name in ("__cause__", "__context__", "reason", "certificate_error")
            )
            waiting += [*inner, *current.args]
