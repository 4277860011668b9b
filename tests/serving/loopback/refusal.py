"""A request that is answered with a status, as TensorFlow Serving's calls end."""

import grpc

# tensorflow.errors and gRPC number the codes alike.
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
# As the REST side of TensorFlow Serving translates them.
HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class Refusal(Exception):
    """A status other than OK, and what it says."""

    def __init__(self, code: grpc.StatusCode, said: str):
        self.code = code
        super().__init__(said)

    @property
    def http_status(self) -> int:
        return HTTP_STATUS.get(self.code, 500)


def refusal_of(error) -> Refusal:
    """What a tensorflow.errors.OpError becomes."""
    return Refusal(_BY_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN), error.message)


def bad_argument(said: str) -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, said)
