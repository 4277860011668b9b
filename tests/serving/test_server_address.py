"""What is a server's address, and what is refused before anything connects."""

import pytest

from schema.errors import UserError
from serving.server_address import check_address


@pytest.mark.parametrize(
    ("address", "rest"),
    [
        ("localhost:8500", False),
        ("[::1]:8500", False),
        ("10.0.0.1:1", True),
        ("https://host", False),
        ("https://host:8500", False),
        ("http://host/behind/a/gateway", True),
        ("dns:///pods:8500", False),
        ("dns://resolver/pods:8500", False),
        ("unix:/run/serving", False),
    ],
)
def test_an_address_is_taken(address, rest):
    check_address(address, rest)


@pytest.mark.parametrize("rest", [False, True])
@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        "localhost:",
        "localhost:8500x",
        "localhost:65536",
        "localhost:0",
        ":8500",
        "::1:8500",
        "[::1]",
        "[::1:8500",
        "local host:8500",
        "localhost:8500/",
        "someone@localhost:8500",
        "https://",
        "https://host:port",
        "ftp://host:21",
    ],
)
def test_what_is_no_address_is_a_sentence(address, rest):
    with pytest.raises(UserError, match="expected HOST:PORT") as error:
        check_address(address, rest)
    assert error.value.code == "unavailable" and repr(address) in str(error.value)


def test_what_only_one_protocol_knows_is_refused_to_the_other():
    with pytest.raises(UserError, match="add --rest"):
        check_address("http://host:8501", rest=False)
    with pytest.raises(UserError, match="expected HOST:PORT"):
        check_address("dns:///pods:8500", rest=True)
