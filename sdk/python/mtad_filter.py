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
ZToCOAEimgIKCE1hbmlmZXN0EhoKCHByb3RvY29sGAEgASgNUghwcm90b2NvbBISCgRuYW1lGAIgASgJUgRuYW1lEhgKB3ZlcnNp
b24YAyABKAlSB3ZlcnNpb24SFgoGc3RhZ2VzGAQgAygJUgZzdGFnZXMSFAoFcmVhZHMYBSADKAlSBXJlYWRzEhYKBndyaXRlcxgG
IAMoCVIGd3JpdGVzEiEKDGNvbmZpZ19lcnJvchgHIAEoCVILY29uZmlnRXJyb3ISMAoHb3B0aW9ucxgIIAMoCzIWLm10YWQuZmls
dGVyLnYxLk9wdGlvblIHb3B0aW9ucxISCgRwdXJlGAkgASgIUgRwdXJlEhUKBm5vX2VuZBgKIAEoCFIFbm9FbmQiSgoGT3B0aW9u
EhIKBG5hbWUYASABKAlSBG5hbWUSEAoDZG9jGAIgASgJUgNkb2MSGgoIcmVxdWlyZWQYAyABKAhSCHJlcXVpcmVkIpMBCghUb1Bs
dWdpbhInCgNhc2sYASABKAsyEy5tdGFkLmZpbHRlci52MS5Bc2tIAFIDYXNrEi0KBWNodW5rGAIgASgLMhUubXRhZC5maWx0ZXIu
djEuQ2h1bmtIAFIFY2h1bmsSJwoDZW5kGAMgASgLMhMubXRhZC5maWx0ZXIudjEuRW5kSABSA2VuZEIGCgRraW5kInUKCkZyb21Q
bHVnaW4SMwoHdmVyZGljdBgBIAEoCzIXLm10YWQuZmlsdGVyLnYxLlZlcmRpY3RIAFIHdmVyZGljdBIqCgRwdWxsGAIgASgLMhQu
bXRhZC5maWx0ZXIudjEuUHVsbEgAUgRwdWxsQgYKBGtpbmQiWwoDQXNrEhQKBXN0YWdlGAEgASgJUgVzdGFnZRIoCgR2aWV3GAIg
ASgLMhQubXRhZC5maWx0ZXIudjEuVmlld1IEdmlldxIUCgVzdGFydBgDIAEoDFIFc3RhcnQiNgoEUHVsbBIWCgZvZmZzZXQYASAB
KANSBm9mZnNldBIWCgZsZW5ndGgYAiABKANSBmxlbmd0aCJDCgVDaHVuaxISCgRkYXRhGAEgASgMUgRkYXRhEhAKA2VvZhgCIAEo
CFIDZW9mEhQKBWVycm9yGAMgASgJUgVlcnJvciIfCgNFbmQSGAoHb3V0Y29tZRgBIAEoCVIHb3V0Y29tZSLSAwoEVmlldxIOCgJp
ZBgBIAEoCVICaWQSLgoGY2xpZW50GAIgASgLMhYubXRhZC5maWx0ZXIudjEuQ2xpZW50UgZjbGllbnQSFgoGc2VuZGVyGAMgASgJ
UgZzZW5kZXISLwoFcmNwdHMYBCADKAsyGS5tdGFkLmZpbHRlci52MS5SZWNpcGllbnRSBXJjcHRzEhIKBHJjcHQYBSABKA1SBHJj
cHQSGAoHbWFpbGJveBgGIAEoCVIHbWFpbGJveBItCgZoZWFkZXIYByADKAsyFS5tdGFkLmZpbHRlci52MS5GaWVsZFIGaGVhZGVy
EhIKBHNpemUYCCABKANSBHNpemUSHwoLaGVhZGVyX3NpemUYCSABKANSCmhlYWRlclNpemUSPQoMYXV0aF9yZXN1bHRzGAogAygL
MhoubXRhZC5maWx0ZXIudjEuQXV0aFJlc3VsdFILYXV0aFJlc3VsdHMSLQoGc2NvcmVzGAsgAygLMhUubXRhZC5maWx0ZXIudjEu
U2NvcmVSBnNjb3JlcxInCgR0YWdzGAwgAygLMhMubXRhZC5maWx0ZXIudjEuVGFnUgR0YWdzEhgKB2NvbW1hbmQYDSABKAlSB2Nv
bW1hbmQitgIKBkNsaWVudBIYCgdzZXNzaW9uGAEgASgJUgdzZXNzaW9uEhoKCGxpc3RlbmVyGAIgASgJUghsaXN0ZW5lchIaCghw
cm90b2NvbBgDIAEoCVIIcHJvdG9jb2wSGgoIaG9zdG5hbWUYBCABKAlSCGhvc3RuYW1lEhIKBGFkZHIYBSABKAlSBGFkZHISEgoE
cG9ydBgGIAEoDVIEcG9ydBISCgRuYW1lGAcgASgJUgRuYW1lEhgKB3JldmVyc2UYCCABKAlSB3JldmVyc2USEgoEaGVsbxgJIAEo
CVIEaGVsbxIQCgN0bHMYCiABKAlSA3RscxISCgR1c2VyGAsgASgJUgR1c2VyEhgKB3RydXN0ZWQYDCABKAhSB3RydXN0ZWQSFAoF
ZWFybHkYDSABKAhSBWVhcmx5IkUKCVJlY2lwaWVudBIOCgJpZBgBIAEoDVICaWQSEgoEYWRkchgCIAEoCVIEYWRkchIUCgVjbGFz
cxgDIAEoCVIFY2xhc3MiKQoFRmllbGQSDgoCaWQYASABKAVSAmlkEhAKA3JhdxgCIAEoDFIDcmF3IssBCgpBdXRoUmVzdWx0EhYK
Bm1ldGhvZBgBIAEoCVIGbWV0aG9kEhYKBnJlc3VsdBgCIAEoCVIGcmVzdWx0EhYKBnJlYXNvbhgDIAEoCVIGcmVhc29uEjsKBXBy
b3BzGAQgAygLMiUubXRhZC5maWx0ZXIudjEuQXV0aFJlc3VsdC5Qcm9wc0VudHJ5UgVwcm9wcxo4CgpQcm9wc0VudHJ5EhAKA2tl
eRgBIAEoCVIDa2V5EhQKBXZhbHVlGAIgASgJUgV2YWx1ZToCOAEiXwoFU2NvcmUSEgoEc3RlcBgBIAEoCVIEc3RlcBISCgRuYW1l
GAIgASgJUgRuYW1lEhYKBnBvaW50cxgDIAEoAVIGcG9pbnRzEhYKBmRldGFpbBgEIAEoCVIGZGV0YWlsIi8KA1RhZxISCgRuYW1l
GAEgASgJUgRuYW1lEhQKBXZhbHVlGAIgASgJUgV2YWx1ZSLdAQoHVmVyZGljdBIWCgZhY3Rpb24YASABKAlSBmFjdGlvbhIrCgVy
ZXBseRgCIAEoCzIVLm10YWQuZmlsdGVyLnYxLlJlcGx5UgVyZXBseRIwCgRtb2RzGAMgAygLMhwubXRhZC5maWx0ZXIudjEuTW9k
aWZpY2F0aW9uUgRtb2RzEjEKBXJjcHRzGAQgAygLMhsubXRhZC5maWx0ZXIudjEuUmNwdFZlcmRpY3RSBXJjcHRzEhIKBG5vdGUY
BSABKAlSBG5vdGUSFAoFZXJyb3IYBiABKAlSBWVycm9yIksKBVJlcGx5EhIKBGNvZGUYASABKAVSBGNvZGUSGgoIZW5oYW5jZWQY
AiABKAlSCGVuaGFuY2VkEhIKBHRleHQYAyABKAlSBHRleHQimAEKC1JjcHRWZXJkaWN0EhIKBHJjcHQYASABKA1SBHJjcHQSFgoG
YWN0aW9uGAIgASgJUgZhY3Rpb24SKwoFcmVwbHkYAyABKAsyFS5tdGFkLmZpbHRlci52MS5SZXBseVIFcmVwbHkSMAoEbW9kcxgE
IAMoCzIcLm10YWQuZmlsdGVyLnYxLk1vZGlmaWNhdGlvblIEbW9kcyLKBgoMTW9kaWZpY2F0aW9uEh8KCnNldF9zZW5kZXIYASAB
KAlIAFIJc2V0U2VuZGVyEhsKCGFkZF9yY3B0GAIgASgJSABSB2FkZFJjcHQSIQoLcmVtb3ZlX3JjcHQYAyABKAlIAFIKcmVtb3Zl
UmNwdBI7CgphZGRfaGVhZGVyGAQgASgLMhoubXRhZC5maWx0ZXIudjEuSGVhZGVyRWRpdEgAUglhZGRIZWFkZXISQQoNaW5zZXJ0
X2hlYWRlchgFIAEoCzIaLm10YWQuZmlsdGVyLnYxLkhlYWRlckVkaXRIAFIMaW5zZXJ0SGVhZGVyEjsKCnNldF9oZWFkZXIYBiAB
KAsyGi5tdGFkLmZpbHRlci52MS5IZWFkZXJFZGl0SABSCXNldEhlYWRlchJBCg1yZW1vdmVfaGVhZGVyGAcgASgLMhoubXRhZC5m
aWx0ZXIudjEuSGVhZGVyRWRpdEgAUgxyZW1vdmVIZWFkZXISIwoMcmVwbGFjZV9ib2R5GAggASgMSABSC3JlcGxhY2VCb2R5EhQK
BGhvbGQYCSABKAlIAFIEaG9sZBIgCgpxdWFyYW50aW5lGAogASgJSABSCnF1YXJhbnRpbmUSNAoJYWRkX3Njb3JlGAsgASgLMhUu
bXRhZC5maWx0ZXIudjEuU2NvcmVIAFIIYWRkU2NvcmUSRAoPYWRkX2F1dGhfcmVzdWx0GAwgASgLMhoubXRhZC5maWx0ZXIudjEu
QXV0aFJlc3VsdEgAUg1hZGRBdXRoUmVzdWx0EicKA3RhZxgNIAEoCzITLm10YWQuZmlsdGVyLnYxLlRhZ0gAUgN0YWcSHwoKc2V0
X2ZvbGRlchgOIAEoCUgAUglzZXRGb2xkZXISNwoJZmlsZV9pbnRvGA8gASgLMhgubXRhZC5maWx0ZXIudjEuRmlsZUludG9IAFII
ZmlsZUludG8SIQoLY2FuY2VsX2tlZXAYECABKAhIAFIKY2FuY2VsS2VlcBI0CglzZXRfZmxhZ3MYESABKAsyFS5tdGFkLmZpbHRl
ci52MS5GbGFnc0gAUghzZXRGbGFncxIcCghyZWRpcmVjdBgSIAEoCUgAUghyZWRpcmVjdEIGCgRraW5kIm4KCkhlYWRlckVkaXQS
FAoFZmllbGQYASABKAVSBWZpZWxkEhIKBG5hbWUYAiABKAlSBG5hbWUSEAoDbnRoGAMgASgFUgNudGgSFAoFdmFsdWUYBCABKAlS
BXZhbHVlEg4KAmF0GAUgASgFUgJhdCJMCghGaWxlSW50bxIWCgZmb2xkZXIYASABKAlSBmZvbGRlchIUCgVmbGFncxgCIAMoCVIF
ZmxhZ3MSEgoEY29weRgDIAEoCFIEY29weSIdCgVGbGFncxIUCgVmbGFncxgBIAMoCVIFZmxhZ3MyiQEKBkZpbHRlchI6CghEZXNj
cmliZRIULm10YWQuZmlsdGVyLnYxLkhvc3QaGC5tdGFkLmZpbHRlci52MS5NYW5pZmVzdBJDCgdTZXNzaW9uEhgubXRhZC5maWx0
ZXIudjEuVG9QbHVnaW4aGi5tdGFkLmZpbHRlci52MS5Gcm9tUGx1Z2luKAEwAUIRWg9tdGFkL3Nkay9tdGFkcGJiBnByb3RvMw==
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
    manifest = pb.Manifest(name=name, version=version, stages=stages, writes=writes, pure=pure, no_end=True,
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
