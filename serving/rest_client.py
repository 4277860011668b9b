"""Asks TensorFlow Serving over REST: POST /v1/models/<name>[/versions/<v>]:predict."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from schema.errors import UserError
from serving.certificates import not_believed, read_certificates
from serving.padded_request import NUM_POINTS, SIGNATURE, answers_of, padded_inputs
from serving.segmenter import Answer, asked_again_if_refused
from serving.serving_error import no_such_label, of_label, reason_in, unknown_host

_ATTEMPTS = 5
_UNAVAILABLE = (429, 502, 503)
# What comes of asking somebody who does not speak HTTP/1.1.
_OTHER_PROTOCOL = (http.client.BadStatusLine, ConnectionResetError, BrokenPipeError)


class RestClient:
    """A `Segmenter` that asks a server, again after a pause where it is unavailable.

    It sends tensors as columns of JSON, several times as many bytes as gRPC; needs no TensorFlow.

    Args:
      address: host:port of the server's REST, 8501 by TensorFlow Serving's default; or an address
        that begins with http:// or https://; host:port is https where a certificate is given.
      name: of the model, as the server calls it.
      version: which of its versions; None: the one of the label, or the one the server chooses.
      timeout: seconds that an attempt may wait for the server.
      first_pause: seconds that the pauses between attempts begin with; each is twice the last.
      label: of the version, such as stable; "" for none.
      certificate: a PEM file with whom to believe; None: the authorities that requests knows.
      tell: is given a line for a person at the first attempt that fails and is followed by others.

    Raises:
      UserError: the certificate cannot be used.
    """

    def __init__(
        self,
        address: str,
        name: str,
        version: int | None = None,
        timeout: float = 60.0,
        first_pause: float = 0.5,
        label: str = "",
        certificate: Path | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        import requests
        from requests.adapters import HTTPAdapter

        from serving.announced_retry import AnnouncedRetry

        if certificate is not None:
            read_certificates(certificate)
        self._address, self._name, self._label = address, name, label
        self._timeout, self._certificate = timeout, certificate
        self._tell: Callable[[str], None] | None = tell
        scheme = "http" if certificate is None else "https"
        base = address if "://" in address else f"{scheme}://{address}"
        of_version = f"/labels/{quote(label, safe='')}" if label else ""
        if version is not None:
            of_version = f"/versions/{version}"
        self._url = f"{base.rstrip('/')}/v1/models/{quote(name, safe='')}{of_version}:predict"
        retry = AnnouncedRetry(
            failed=self._first_failure,
            total=_ATTEMPTS - 1,
            # What a server has begun to answer, it would be as slow to answer again.
            read=False,
            backoff_factor=first_pause,
            status_forcelist=_UNAVAILABLE,
            # The same request has the same answer: repeating it harms nothing.
            allowed_methods=None,
            raise_on_status=False,
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))
        # With each request: that of a session gives way to REQUESTS_CA_BUNDLE in the environment.
        self._verify = True if certificate is None else str(certificate)

    def close(self) -> None:
        """Ends the connections."""
        self._session.close()

    def segment(self, clouds: Sequence[np.ndarray], category: int | None) -> list[Answer]:
        """See `Segmenter.segment`."""
        inputs = padded_inputs(clouds, category)
        columns = {name: value.tolist() for name, value in inputs.items()}
        body = json.dumps({"signature_name": SIGNATURE, "inputs": columns}).encode()
        sizes = inputs[NUM_POINTS].tolist()
        return asked_again_if_refused(lambda: self._ask(body, sizes))

    def _first_failure(self, found: Exception | int) -> None:
        """Tells, once a client, that an attempt has failed."""
        if self._tell is None:
            return
        reason = f"status {found}" if isinstance(found, int) else _cause(found)
        self._tell(
            f"{self._address} is unavailable over REST ({reason}); trying {_ATTEMPTS - 1} more "
            "times ..."
        )
        self._tell = None

    def _ask(self, body: bytes, sizes: list[int]) -> list[Answer]:
        import requests

        headers = {"Content-Type": "application/json"}
        try:
            response = self._session.post(
                self._url,
                body,
                headers=headers,
                timeout=self._timeout,
                verify=self._verify,
            )
        except requests.exceptions.Timeout:
            raise UserError(
                "unavailable",
                f"{self._address} gave no answer within {self._timeout:g} s; allow more time or "
                "send fewer points at once.",
            ) from None
        except requests.exceptions.SSLError as error:
            raise not_believed(self._address, self._certificate, _cause(error)) from None
        except requests.exceptions.RequestException as error:
            innermost = _innermost(error)
            if isinstance(innermost.__context__, socket.gaierror):
                raise unknown_host(self._address) from None
            if isinstance(innermost, _OTHER_PROTOCOL):
                raise UserError(
                    "unavailable",
                    f"{self._address} does not answer as REST does ({_cause(error)}); is "
                    f"{self._address} the port of REST (8501 by default)?",
                ) from None
            raise UserError(
                "unavailable",
                f"{self._address} is unavailable over REST ({_cause(error)}); start the server, or "
                "give its host and REST port.",
            ) from None
        if response.status_code != requests.codes.ok:
            raise self._reason(response)
        try:
            outputs = response.json()["outputs"]
            named = {name: np.asarray(value) for name, value in outputs.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                "unavailable",
                f"{self._address} answered with something else than the outputs of {SIGNATURE}; "
                "give the REST port of TensorFlow Serving.",
            ) from None
        return answers_of(named, sizes)

    def _reason(self, response: Any) -> UserError:
        """The sentence for an answer that is none."""
        try:
            said = reason_in(str(response.json()["error"]))
        except (ValueError, KeyError, TypeError):
            said = reason_in(response.reason or "")
        status = response.status_code
        if self._label and of_label(said):
            return no_such_label(self._address, self._label)
        if status in _UNAVAILABLE:
            return UserError(
                "unavailable",
                f"{self._address} is unavailable (status {status}: {said}); try again later.",
            )
        if status in (404, 405):
            return UserError(
                "unavailable",
                f"{self._address} does not serve the model {self._name} (status {status}: {said}); "
                "give the name and version that the server has.",
            )
        return UserError(
            "no_answer", f"{self._address} refused the request (status {status}): {said}."
        )


def _innermost(error: BaseException) -> BaseException:
    """What an error of requests comes of."""
    while True:
        inner = getattr(error, "reason", None) or next(
            (argument for argument in error.args if isinstance(argument, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            return error
        error = inner


def _cause(error: BaseException) -> str:
    """The innermost reason of an error of requests, such as "Connection refused"."""
    found = _innermost(error)
    text = str(getattr(found, "strerror", None) or found)
    said = text.rsplit(">: ", 1)[-1].removeprefix("Failed to establish a new connection: ")
    return reason_in(re.sub(r"^\[Errno -?\d+\] ", "", said))
