"""What the author of a filter in Python imports: mtad's filter protocol over gRPC.

Needs grpcio and protobuf (Debian: python3-grpcio, python3-protobuf), and in
mtad's configuration mtls = false. A filter is one function:

    def judge(stage, message, verdict): ...

    mtad_filter.serve(name="hello", version="1", stages=["message"],
                      writes=["header"], open=lambda config: judge)

Messages of the protocol are in `pb`: pb.Verdict and the others of filter.proto.
"""

import base64
import os
import queue
import re
import signal
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTOCOL = 2
PULL = 128 << 10
SESSIONS = 1000  # at once; more wait

# filter.proto, compiled; a test in mtad's tree compares the two.
DESCRIPTOR = """
CgxmaWx0ZXIucHJvdG8SDm10YWQuZmlsdGVyLnYxIsUBCgRIb3N0EhoKCHByb3RvY29sGAEgASgNUghwcm90b2NvbBIYCgd2ZXJz
aW9uGAIgASgJUgd2ZXJzaW9uEhIKBHN0ZXAYAyABKAlSBHN0ZXASOAoGY29uZmlnGAQgAygLMiAubXRhZC5maWx0ZXIudjEuSG9z
dC5Db25maWdFbnRyeVIGY29uZmlnGjkKC0NvbmZpZ0VudHJ5EhAKA2tleRgBIAEoCVIDa2V5EhQKBXZhbHVlGAIgASgJUgV2YWx1
ZToCOAEigwIKCE1hbmlmZXN0EhoKCHByb3RvY29sGAEgASgNUghwcm90b2NvbBISCgRuYW1lGAIgASgJUgRuYW1lEhgKB3ZlcnNp
b24YAyABKAlSB3ZlcnNpb24SFgoGc3RhZ2VzGAQgAygJUgZzdGFnZXMSFAoFcmVhZHMYBSADKAlSBXJlYWRzEhYKBndyaXRlcxgG
IAMoCVIGd3JpdGVzEiEKDGNvbmZpZ19lcnJvchgHIAEoCVILY29uZmlnRXJyb3ISMAoHb3B0aW9ucxgIIAMoCzIWLm10YWQuZmls
dGVyLnYxLk9wdGlvblIHb3B0aW9ucxISCgRwdXJlGAkgASgIUgRwdXJlIkoKBk9wdGlvbhISCgRuYW1lGAEgASgJUgRuYW1lEhAK
A2RvYxgCIAEoCVIDZG9jEhoKCHJlcXVpcmVkGAMgASgIUghyZXF1aXJlZCKTAQoIVG9QbHVnaW4SJwoDYXNrGAEgASgLMhMubXRh
ZC5maWx0ZXIudjEuQXNrSABSA2FzaxItCgVjaHVuaxgCIAEoCzIVLm10YWQuZmlsdGVyLnYxLkNodW5rSABSBWNodW5rEicKA2Vu
ZBgDIAEoCzITLm10YWQuZmlsdGVyLnYxLkVuZEgAUgNlbmRCBgoEa2luZCJ1CgpGcm9tUGx1Z2luEjMKB3ZlcmRpY3QYASABKAsy
Fy5tdGFkLmZpbHRlci52MS5WZXJkaWN0SABSB3ZlcmRpY3QSKgoEcHVsbBgCIAEoCzIULm10YWQuZmlsdGVyLnYxLlB1bGxIAFIE
cHVsbEIGCgRraW5kIlsKA0FzaxIUCgVzdGFnZRgBIAEoCVIFc3RhZ2USKAoEdmlldxgCIAEoCzIULm10YWQuZmlsdGVyLnYxLlZp
ZXdSBHZpZXcSFAoFc3RhcnQYAyABKAxSBXN0YXJ0IjYKBFB1bGwSFgoGb2Zmc2V0GAEgASgDUgZvZmZzZXQSFgoGbGVuZ3RoGAIg
ASgDUgZsZW5ndGgiQwoFQ2h1bmsSEgoEZGF0YRgBIAEoDFIEZGF0YRIQCgNlb2YYAiABKAhSA2VvZhIUCgVlcnJvchgDIAEoCVIF
ZXJyb3IiHwoDRW5kEhgKB291dGNvbWUYASABKAlSB291dGNvbWUi0gMKBFZpZXcSDgoCaWQYASABKAlSAmlkEi4KBmNsaWVudBgC
IAEoCzIWLm10YWQuZmlsdGVyLnYxLkNsaWVudFIGY2xpZW50EhYKBnNlbmRlchgDIAEoCVIGc2VuZGVyEi8KBXJjcHRzGAQgAygL
MhkubXRhZC5maWx0ZXIudjEuUmVjaXBpZW50UgVyY3B0cxISCgRyY3B0GAUgASgNUgRyY3B0EhgKB21haWxib3gYBiABKAlSB21h
aWxib3gSLQoGaGVhZGVyGAcgAygLMhUubXRhZC5maWx0ZXIudjEuRmllbGRSBmhlYWRlchISCgRzaXplGAggASgDUgRzaXplEh8K
C2hlYWRlcl9zaXplGAkgASgDUgpoZWFkZXJTaXplEj0KDGF1dGhfcmVzdWx0cxgKIAMoCzIaLm10YWQuZmlsdGVyLnYxLkF1dGhS
ZXN1bHRSC2F1dGhSZXN1bHRzEi0KBnNjb3JlcxgLIAMoCzIVLm10YWQuZmlsdGVyLnYxLlNjb3JlUgZzY29yZXMSJwoEdGFncxgM
IAMoCzITLm10YWQuZmlsdGVyLnYxLlRhZ1IEdGFncxIYCgdjb21tYW5kGA0gASgJUgdjb21tYW5kIrYCCgZDbGllbnQSGAoHc2Vz
c2lvbhgBIAEoCVIHc2Vzc2lvbhIaCghsaXN0ZW5lchgCIAEoCVIIbGlzdGVuZXISGgoIcHJvdG9jb2wYAyABKAlSCHByb3RvY29s
EhoKCGhvc3RuYW1lGAQgASgJUghob3N0bmFtZRISCgRhZGRyGAUgASgJUgRhZGRyEhIKBHBvcnQYBiABKA1SBHBvcnQSEgoEbmFt
ZRgHIAEoCVIEbmFtZRIYCgdyZXZlcnNlGAggASgJUgdyZXZlcnNlEhIKBGhlbG8YCSABKAlSBGhlbG8SEAoDdGxzGAogASgJUgN0
bHMSEgoEdXNlchgLIAEoCVIEdXNlchIYCgd0cnVzdGVkGAwgASgIUgd0cnVzdGVkEhQKBWVhcmx5GA0gASgIUgVlYXJseSJFCglS
ZWNpcGllbnQSDgoCaWQYASABKA1SAmlkEhIKBGFkZHIYAiABKAlSBGFkZHISFAoFY2xhc3MYAyABKAlSBWNsYXNzIikKBUZpZWxk
Eg4KAmlkGAEgASgFUgJpZBIQCgNyYXcYAiABKAxSA3JhdyLLAQoKQXV0aFJlc3VsdBIWCgZtZXRob2QYASABKAlSBm1ldGhvZBIW
CgZyZXN1bHQYAiABKAlSBnJlc3VsdBIWCgZyZWFzb24YAyABKAlSBnJlYXNvbhI7CgVwcm9wcxgEIAMoCzIlLm10YWQuZmlsdGVy
LnYxLkF1dGhSZXN1bHQuUHJvcHNFbnRyeVIFcHJvcHMaOAoKUHJvcHNFbnRyeRIQCgNrZXkYASABKAlSA2tleRIUCgV2YWx1ZRgC
IAEoCVIFdmFsdWU6AjgBIl8KBVNjb3JlEhIKBHN0ZXAYASABKAlSBHN0ZXASEgoEbmFtZRgCIAEoCVIEbmFtZRIWCgZwb2ludHMY
AyABKAFSBnBvaW50cxIWCgZkZXRhaWwYBCABKAlSBmRldGFpbCIvCgNUYWcSEgoEbmFtZRgBIAEoCVIEbmFtZRIUCgV2YWx1ZRgC
IAEoCVIFdmFsdWUi3QEKB1ZlcmRpY3QSFgoGYWN0aW9uGAEgASgJUgZhY3Rpb24SKwoFcmVwbHkYAiABKAsyFS5tdGFkLmZpbHRl
ci52MS5SZXBseVIFcmVwbHkSMAoEbW9kcxgDIAMoCzIcLm10YWQuZmlsdGVyLnYxLk1vZGlmaWNhdGlvblIEbW9kcxIxCgVyY3B0
cxgEIAMoCzIbLm10YWQuZmlsdGVyLnYxLlJjcHRWZXJkaWN0UgVyY3B0cxISCgRub3RlGAUgASgJUgRub3RlEhQKBWVycm9yGAYg
ASgJUgVlcnJvciJLCgVSZXBseRISCgRjb2RlGAEgASgFUgRjb2RlEhoKCGVuaGFuY2VkGAIgASgJUghlbmhhbmNlZBISCgR0ZXh0
GAMgASgJUgR0ZXh0IpgBCgtSY3B0VmVyZGljdBISCgRyY3B0GAEgASgNUgRyY3B0EhYKBmFjdGlvbhgCIAEoCVIGYWN0aW9uEisK
BXJlcGx5GAMgASgLMhUubXRhZC5maWx0ZXIudjEuUmVwbHlSBXJlcGx5EjAKBG1vZHMYBCADKAsyHC5tdGFkLmZpbHRlci52MS5N
b2RpZmljYXRpb25SBG1vZHMiygYKDE1vZGlmaWNhdGlvbhIfCgpzZXRfc2VuZGVyGAEgASgJSABSCXNldFNlbmRlchIbCghhZGRf
cmNwdBgCIAEoCUgAUgdhZGRSY3B0EiEKC3JlbW92ZV9yY3B0GAMgASgJSABSCnJlbW92ZVJjcHQSOwoKYWRkX2hlYWRlchgEIAEo
CzIaLm10YWQuZmlsdGVyLnYxLkhlYWRlckVkaXRIAFIJYWRkSGVhZGVyEkEKDWluc2VydF9oZWFkZXIYBSABKAsyGi5tdGFkLmZp
bHRlci52MS5IZWFkZXJFZGl0SABSDGluc2VydEhlYWRlchI7CgpzZXRfaGVhZGVyGAYgASgLMhoubXRhZC5maWx0ZXIudjEuSGVh
ZGVyRWRpdEgAUglzZXRIZWFkZXISQQoNcmVtb3ZlX2hlYWRlchgHIAEoCzIaLm10YWQuZmlsdGVyLnYxLkhlYWRlckVkaXRIAFIM
cmVtb3ZlSGVhZGVyEiMKDHJlcGxhY2VfYm9keRgIIAEoDEgAUgtyZXBsYWNlQm9keRIUCgRob2xkGAkgASgJSABSBGhvbGQSIAoK
cXVhcmFudGluZRgKIAEoCUgAUgpxdWFyYW50aW5lEjQKCWFkZF9zY29yZRgLIAEoCzIVLm10YWQuZmlsdGVyLnYxLlNjb3JlSABS
CGFkZFNjb3JlEkQKD2FkZF9hdXRoX3Jlc3VsdBgMIAEoCzIaLm10YWQuZmlsdGVyLnYxLkF1dGhSZXN1bHRIAFINYWRkQXV0aFJl
c3VsdBInCgN0YWcYDSABKAsyEy5tdGFkLmZpbHRlci52MS5UYWdIAFIDdGFnEh8KCnNldF9mb2xkZXIYDiABKAlIAFIJc2V0Rm9s
ZGVyEjcKCWZpbGVfaW50bxgPIAEoCzIYLm10YWQuZmlsdGVyLnYxLkZpbGVJbnRvSABSCGZpbGVJbnRvEiEKC2NhbmNlbF9rZWVw
GBAgASgISABSCmNhbmNlbEtlZXASNAoJc2V0X2ZsYWdzGBEgASgLMhUubXRhZC5maWx0ZXIudjEuRmxhZ3NIAFIIc2V0RmxhZ3MS
HAoIcmVkaXJlY3QYEiABKAlIAFIIcmVkaXJlY3RCBgoEa2luZCJuCgpIZWFkZXJFZGl0EhQKBWZpZWxkGAEgASgFUgVmaWVsZBIS
CgRuYW1lGAIgASgJUgRuYW1lEhAKA250aBgDIAEoBVIDbnRoEhQKBXZhbHVlGAQgASgJUgV2YWx1ZRIOCgJhdBgFIAEoBVICYXQi
TAoIRmlsZUludG8SFgoGZm9sZGVyGAEgASgJUgZmb2xkZXISFAoFZmxhZ3MYAiADKAlSBWZsYWdzEhIKBGNvcHkYAyABKAhSBGNv
cHkiHQoFRmxhZ3MSFAoFZmxhZ3MYASADKAlSBWZsYWdzMokBCgZGaWx0ZXISOgoIRGVzY3JpYmUSFC5tdGFkLmZpbHRlci52MS5I
b3N0GhgubXRhZC5maWx0ZXIudjEuTWFuaWZlc3QSQwoHU2Vzc2lvbhIYLm10YWQuZmlsdGVyLnYxLlRvUGx1Z2luGhoubXRhZC5m
aWx0ZXIudjEuRnJvbVBsdWdpbigBMAFCEVoPbXRhZC9zZGsvbXRhZHBiYgZwcm90bzM=
"""


class _Messages:
    """The messages of filter.proto, by name."""

    def __init__(self):
        pool = descriptor_pool.DescriptorPool()
        file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(DESCRIPTOR))
        pool.Add(file)
        for m in file.message_type:
            desc = pool.FindMessageTypeByName(file.package + "." + m.name)
            if hasattr(message_factory, "GetMessageClass"):
                cls = message_factory.GetMessageClass(desc)
            else:
                cls = message_factory.MessageFactory(pool).GetPrototype(desc)
            setattr(self, m.name, cls)


pb = _Messages()


class Message:
    """What a filter sees. It is valid during the call it was given to."""

    def __init__(self, view, start, pull):
        self.view = view
        self._start = start
        self._pull = pull

    @property
    def id(self):
        """The transaction's, as in replies and traces."""
        return self.view.id

    @property
    def client(self):
        """The session: addr, name, helo, tls, user and the others of pb.Client."""
        return self.view.client

    @property
    def sender(self):
        """The reverse-path, "" for bounces."""
        return self.view.sender

    @property
    def rcpts(self):
        return [r.addr for r in self.view.rcpts]

    def header(self, name):
        """The unfolded value of the first field of that name, or None."""
        for f in self.view.header:
            n, _, value = f.raw.partition(b":")
            if n.strip().lower() == name.lower().encode():
                return re.sub(b"[\r\n]", b"", value).strip().decode("utf-8", "replace")
        return None

    def body(self):
        """What follows the header, fetched piece by piece: bytes of an iterator."""
        skip = self.view.header_size
        for piece in self.raw():
            yield piece[skip:]
            skip = max(0, skip - len(piece))

    def raw(self):
        """The whole message, fetched piece by piece: bytes of an iterator."""
        offset = len(self._start)  # sent unasked
        if offset:
            yield self._start
            if offset >= self.view.size:
                return
        while True:
            data, eof = self._pull(offset)
            yield data
            offset += len(data)
            if eof:
                return


class Verdict:
    """A filter's answer. Left alone it means continue."""

    def __init__(self):
        self.pb = pb.Verdict()

    def _refuse(self, action, code, enhanced, text):
        self.pb.action = action
        self.pb.reply.code, self.pb.reply.enhanced, self.pb.reply.text = code, enhanced, text

    def reject(self, text, code=550, enhanced="5.7.1"):
        self._refuse("reject", code, enhanced, text)

    def tempfail(self, text, code=450, enhanced="4.7.1"):
        self._refuse("tempfail", code, enhanced, text)

    def note(self, text):
        self.pb.note = text

    def add_score(self, name, points, detail=""):
        s = self.pb.mods.add().add_score
        s.name, s.points, s.detail = name, points, detail

    def tag(self, name, value=""):
        t = self.pb.mods.add().tag
        t.name, t.value = name, value

    def add_header(self, name, value):
        h = self.pb.mods.add().add_header
        h.name, h.value = name, value

    def insert_header(self, at, name, value):
        """Adds a field before position at, 0 being the top."""
        h = self.pb.mods.add().insert_header
        h.at, h.name, h.value = at, name, value

    def set_header(self, name, value):
        """Changes the first field of that name, or adds one."""
        h = self.pb.mods.add().set_header
        h.name, h.nth, h.value = name, 1, value

    def remove_header(self, name):
        """Removes every field of that name."""
        self.pb.mods.add().remove_header.name = name

    def replace_body(self, body):
        """Replaces what follows the header: bytes, at most 3 MiB."""
        self.pb.mods.add().replace_body = body

    def quarantine(self, reason):
        self.pb.mods.add().quarantine = reason

    def hold(self, reason):
        self.pb.mods.add().hold = reason

    def file_into(self, folder, *flags):
        """Stores the message in a folder, at deliver."""
        f = self.pb.mods.add().file_into
        f.folder = folder
        f.flags.extend(flags)

    def redirect(self, address):
        """Sends the message on, at deliver."""
        self.pb.mods.add().redirect = address

    def discard(self):
        """Takes the message and drops it."""
        self.pb.action = "discard"

    def done(self):
        """Asks not to be called again for this transaction."""
        self.pb.action = "done"


class _Server:
    def __init__(self, manifest, opener):
        self.manifest, self.opener, self.filter = manifest, opener, None

    def describe(self, host, _context):
        m = pb.Manifest()
        m.CopyFrom(self.manifest)
        m.protocol = min(PROTOCOL, host.protocol)
        try:
            self.filter = self.opener(dict(host.config))
        except Exception as e:  # shown to the administrator
            m.config_error = str(e) or repr(e)
        return m

    def session(self, incoming, _context):
        """One SMTP session. gRPC takes what is yielded, so a filter that pulls
        runs beside and hands over what is to be sent."""
        for ask in incoming:
            if ask.WhichOneof("kind") != "ask":
                continue
            yield from _answer(self.filter, ask.ask, incoming)


def _answer(judge, ask, incoming):
    """Yields the pulls of one call and then its verdict."""
    out, chunks = queue.Queue(), queue.Queue()

    def pull(offset):
        out.put(pb.FromPlugin(pull=pb.Pull(offset=offset, length=PULL)))
        chunk = chunks.get()
        if chunk is None:
            raise EOFError("the session ended")
        if chunk.error:
            raise OSError(chunk.error)
        return chunk.data, chunk.eof

    def work():
        verdict = Verdict()
        try:
            judge(ask.stage, Message(ask.view, ask.start, pull), verdict)
            answer = verdict.pb
        except Exception as e:  # a fault, which on_error answers
            answer = pb.Verdict(error="%s: %s" % (type(e).__name__, e))
        out.put(pb.FromPlugin(verdict=answer))

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            one = out.get()
            yield one
            if one.WhichOneof("kind") == "verdict":
                return
            chunks.put(next(incoming).chunk)
    finally:
        chunks.put(None)  # whoever waits for a chunk gets none


def serve(name, version, stages, open, reads=None, writes=(), options=(), pure=False):
    """Serves the filter that open(config) returns until mtad ends the program.
    options are (name, doc, required)."""
    if os.environ.get("MTAD_PLUGIN") != "filter":
        sys.exit("This is a filter for mtad, which starts it: filter \"external\" of mtls = false.")
    everything = ["envelope", "header", "body", "auth-results", "score", "tags", "effects"]
    manifest = pb.Manifest(name=name, version=version, stages=stages, writes=writes, pure=pure,
                           reads=everything if reads is None else reads)
    for n, doc, required in options:
        manifest.options.add(name=n, doc=doc, required=required)
    s = _Server(manifest, open)
    done = threading.Event()

    def shutdown(_request, _context):
        done.set()
        return b""

    # A session keeps a thread as long as it lasts; threads are made as needed.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=SESSIONS))
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("mtad.filter.v1.Filter", {
            "Describe": grpc.unary_unary_rpc_method_handler(
                s.describe, pb.Host.FromString, pb.Manifest.SerializeToString),
            "Session": grpc.stream_stream_rpc_method_handler(
                s.session, pb.ToPlugin.FromString, pb.FromPlugin.SerializeToString),
        }),
        # What go-plugin's host asks of every plugin. b"\x08\x01" is SERVING.
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
            "Check": grpc.unary_unary_rpc_method_handler(lambda _r, _c: b"\x08\x01"),
        }),
        grpc.method_handlers_generic_handler("plugin.GRPCController", {
            "Shutdown": grpc.unary_unary_rpc_method_handler(shutdown),
        }),
    ))
    path = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "filter.sock")
    if server.add_insecure_port("unix:" + path) == 0:
        sys.exit("can not listen at " + path)
    server.start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("1|1|unix|%s|grpc" % path, flush=True)
    done.wait()
    server.stop(1).wait()
