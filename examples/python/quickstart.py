#!/usr/bin/env python3
"""Speaks to an Althing node without generated code: everything is learned by gRPC reflection.

Creates a community, uploads a reducer, makes it the community's law, submits operations in a client
session, asks a question, and reads what happened.

    python quickstart.py --component counter.wasm \\
        --operation '{"op": "add", "name": "a", "amount": 41}' --question '{"query": "total", "name": "a"}'
"""

import argparse
import sys
import time

import blake3
import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

# Components are larger than a gRPC message may be: they are sent in pieces.
PIECE_BYTES = 1 << 20

# Not carried out: send it again.
RETRY_SAFE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
}
# Perhaps carried out: an operation may be sent again, under the same session and number.
RETRY_NAMED = RETRY_SAFE | {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
}


class Service:
    """A service as the server itself describes it: its methods become methods of this object."""

    def __init__(self, channel, pool, name):
        for method in pool.FindServiceByName(name).methods:
            setattr(self, method.name, self._callable(channel, name, method))

    @staticmethod
    def _callable(channel, service, method):
        request = GetMessageClass(method.input_type)
        response = GetMessageClass(method.output_type)
        asks = "stream" if method.client_streaming else "unary"
        tells = "stream" if method.server_streaming else "unary"
        call = getattr(channel, f"{asks}_{tells}")(
            f"/{service}/{method.name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        if method.client_streaming:
            # Takes an iterator of dictionaries.
            return lambda requests, **more: call((request(**fields) for fields in requests), **more)
        return lambda timeout=30, **fields: call(request(**fields), timeout=timeout)


def patiently(call, codes, patience=30):
    """Calls until there is an answer, or a failure that would come again, or time is up."""
    deadline = time.monotonic() + patience
    pause = 0.01
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in codes or time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)
            pause = min(2 * pause, 0.5)


def upload(admin, component):
    """Uploads a component; the server's description of it."""
    whole = {"hash": blake3.blake3(component).digest(), "bytes": len(component)}

    def parts():
        yield {"header": whole}
        for start in range(0, len(component), PIECE_BYTES):
            yield {"piece": component[start : start + PIECE_BYTES]}

    answer = patiently(lambda: admin.UploadComponent(parts(), timeout=180), RETRY_NAMED)
    return answer.component


def told(outcome):
    """An outcome in one line."""
    kind = outcome.WhichOneof("kind")
    if kind == "accepted":
        return f"accepted {outcome.accepted.result.decode(errors='replace')}"
    said = getattr(outcome, kind)
    return f"{kind} {said.code}: {said.message}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="127.0.0.1:7411", help="HOST:PORT of any node")
    parser.add_argument("--community", default="python-quickstart")
    parser.add_argument("--component", required=True, help="a reducer component (althing build)")
    parser.add_argument("--config", default="", help="the reducer's configuration, JSON")
    parser.add_argument("--operation", action="append", default=[], help="may be given several times")
    parser.add_argument("--question", help="asked at the end")
    return parser.parse_args()


def main():
    asked = arguments()
    actor = {"id": "python", "roles": []}
    name = asked.community
    with open(asked.component, "rb") as file:
        component = file.read()

    with grpc.insecure_channel(asked.server) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        admin = Service(channel, pool, "althing.v1.Admin")
        communities = Service(channel, pool, "althing.v1.Communities")

        try:
            created = patiently(lambda: admin.CreateCommunity(name=name), RETRY_SAFE).community
            print(f"created community {created.name}, id {created.id}")
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.ALREADY_EXISTS:
                raise
            print(f"community {name} exists")

        uploaded = upload(admin, component)
        print(f"uploaded {uploaded.kind} {uploaded.name} {uploaded.version}, {uploaded.bytes} bytes")

        activated = patiently(
            lambda: admin.ActivateProgram(
                timeout=90,
                community=name,
                actor=actor,
                reducer=uploaded.hash,
                config=asked.config.encode(),
            ),
            RETRY_SAFE,
        )
        print(f"activated: {told(activated.receipt.outcome)}")
        if activated.receipt.outcome.WhichOneof("kind") != "accepted":
            return 3

        opened = patiently(lambda: communities.OpenSession(community=name, actor=actor), RETRY_NAMED)
        print(f"session {opened.session}, up to {opened.window} operations under way")

        for number, operation in enumerate(asked.operation, start=1):
            # The same number again is answered, not executed again: so it may be sent until it is.
            submitted = patiently(
                lambda: communities.Submit(
                    community=name,
                    session=opened.session,
                    number=number,
                    acknowledged=number - 1,
                    actor=actor,
                    payload=operation.encode(),
                ),
                RETRY_NAMED,
            )
            receipt = submitted.receipt
            print(f"#{receipt.sequence} {operation}: {told(receipt.outcome)}, digest {receipt.digest.hex()[:16]}")

        if asked.question:
            answer = patiently(
                lambda: communities.Query(community=name, actor=actor, question=asked.question.encode()),
                RETRY_NAMED,
            )
            kind = answer.WhichOneof("kind")
            said = answer.answer.decode() if kind == "answer" else f"{kind}: {getattr(answer, kind).message}"
            print(f"{asked.question} at #{answer.sequence}: {said}")

        history = patiently(lambda: communities.History(community=name, limit=100), RETRY_NAMED)
        causes = [transition.cause.WhichOneof("kind") for transition in history.transitions]
        print(f"history #{history.oldest} to #{history.newest}: {', '.join(causes)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except grpc.RpcError as error:
        sys.exit(f"error: {error.details()} ({error.code().name})")
