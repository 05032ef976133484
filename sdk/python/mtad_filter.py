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
cHVsbEIGCgRraW5kIkUKA0FzaxIUCgVzdGFnZRgBIAEoCVIFc3RhZ2USKAoEdmlldxgCIAEoCzIULm10YWQuZmlsdGVyLnYxLlZp
ZXdSBHZpZXciNgoEUHVsbBIWCgZvZmZzZXQYASABKANSBm9mZnNldBIWCgZsZW5ndGgYAiABKANSBmxlbmd0aCJDCgVDaHVuaxIS
CgRkYXRhGAEgASgMUgRkYXRhEhAKA2VvZhgCIAEoCFIDZW9mEhQKBWVycm9yGAMgASgJUgVlcnJvciIfCgNFbmQSGAoHb3V0Y29t
ZRgBIAEoCVIHb3V0Y29tZSLSAwoEVmlldxIOCgJpZBgBIAEoCVICaWQSLgoGY2xpZW50GAIgASgLMhYubXRhZC5maWx0ZXIudjEu
Q2xpZW50UgZjbGllbnQSFgoGc2VuZGVyGAMgASgJUgZzZW5kZXISLwoFcmNwdHMYBCADKAsyGS5tdGFkLmZpbHRlci52MS5SZWNp
cGllbnRSBXJjcHRzEhIKBHJjcHQYBSABKA1SBHJjcHQSGAoHbWFpbGJveBgGIAEoCVIHbWFpbGJveBItCgZoZWFkZXIYByADKAsy
FS5tdGFkLmZpbHRlci52MS5GaWVsZFIGaGVhZGVyEhIKBHNpemUYCCABKANSBHNpemUSHwoLaGVhZGVyX3NpemUYCSABKANSCmhl
YWRlclNpemUSPQoMYXV0aF9yZXN1bHRzGAogAygLMhoubXRhZC5maWx0ZXIudjEuQXV0aFJlc3VsdFILYXV0aFJlc3VsdHMSLQoG
c2NvcmVzGAsgAygLMhUubXRhZC5maWx0ZXIudjEuU2NvcmVSBnNjb3JlcxInCgR0YWdzGAwgAygLMhMubXRhZC5maWx0ZXIudjEu
VGFnUgR0YWdzEhgKB2NvbW1hbmQYDSABKAlSB2NvbW1hbmQitgIKBkNsaWVudBIYCgdzZXNzaW9uGAEgASgJUgdzZXNzaW9uEhoK
CGxpc3RlbmVyGAIgASgJUghsaXN0ZW5lchIaCghwcm90b2NvbBgDIAEoCVIIcHJvdG9jb2wSGgoIaG9zdG5hbWUYBCABKAlSCGhv
c3RuYW1lEhIKBGFkZHIYBSABKAlSBGFkZHISEgoEcG9ydBgGIAEoDVIEcG9ydBISCgRuYW1lGAcgASgJUgRuYW1lEhgKB3JldmVy
c2UYCCABKAlSB3JldmVyc2USEgoEaGVsbxgJIAEoCVIEaGVsbxIQCgN0bHMYCiABKAlSA3RscxISCgR1c2VyGAsgASgJUgR1c2Vy
EhgKB3RydXN0ZWQYDCABKAhSB3RydXN0ZWQSFAoFZWFybHkYDSABKAhSBWVhcmx5IkUKCVJlY2lwaWVudBIOCgJpZBgBIAEoDVIC
aWQSEgoEYWRkchgCIAEoCVIEYWRkchIUCgVjbGFzcxgDIAEoCVIFY2xhc3MiKQoFRmllbGQSDgoCaWQYASABKAVSAmlkEhAKA3Jh
dxgCIAEoDFIDcmF3IssBCgpBdXRoUmVzdWx0EhYKBm1ldGhvZBgBIAEoCVIGbWV0aG9kEhYKBnJlc3VsdBgCIAEoCVIGcmVzdWx0
EhYKBnJlYXNvbhgDIAEoCVIGcmVhc29uEjsKBXByb3BzGAQgAygLMiUubXRhZC5maWx0ZXIudjEuQXV0aFJlc3VsdC5Qcm9wc0Vu
dHJ5UgVwcm9wcxo4CgpQcm9wc0VudHJ5EhAKA2tleRgBIAEoCVIDa2V5EhQKBXZhbHVlGAIgASgJUgV2YWx1ZToCOAEiXwoFU2Nv
cmUSEgoEc3RlcBgBIAEoCVIEc3RlcBISCgRuYW1lGAIgASgJUgRuYW1lEhYKBnBvaW50cxgDIAEoAVIGcG9pbnRzEhYKBmRldGFp
bBgEIAEoCVIGZGV0YWlsIi8KA1RhZxISCgRuYW1lGAEgASgJUgRuYW1lEhQKBXZhbHVlGAIgASgJUgV2YWx1ZSLdAQoHVmVyZGlj
dBIWCgZhY3Rpb24YASABKAlSBmFjdGlvbhIrCgVyZXBseRgCIAEoCzIVLm10YWQuZmlsdGVyLnYxLlJlcGx5UgVyZXBseRIwCgRt
b2RzGAMgAygLMhwubXRhZC5maWx0ZXIudjEuTW9kaWZpY2F0aW9uUgRtb2RzEjEKBXJjcHRzGAQgAygLMhsubXRhZC5maWx0ZXIu
djEuUmNwdFZlcmRpY3RSBXJjcHRzEhIKBG5vdGUYBSABKAlSBG5vdGUSFAoFZXJyb3IYBiABKAlSBWVycm9yIksKBVJlcGx5EhIK
BGNvZGUYASABKAVSBGNvZGUSGgoIZW5oYW5jZWQYAiABKAlSCGVuaGFuY2VkEhIKBHRleHQYAyABKAlSBHRleHQimAEKC1JjcHRW
ZXJkaWN0EhIKBHJjcHQYASABKA1SBHJjcHQSFgoGYWN0aW9uGAIgASgJUgZhY3Rpb24SKwoFcmVwbHkYAyABKAsyFS5tdGFkLmZp
bHRlci52MS5SZXBseVIFcmVwbHkSMAoEbW9kcxgEIAMoCzIcLm10YWQuZmlsdGVyLnYxLk1vZGlmaWNhdGlvblIEbW9kcyLKBgoM
TW9kaWZpY2F0aW9uEh8KCnNldF9zZW5kZXIYASABKAlIAFIJc2V0U2VuZGVyEhsKCGFkZF9yY3B0GAIgASgJSABSB2FkZFJjcHQS
IQoLcmVtb3ZlX3JjcHQYAyABKAlIAFIKcmVtb3ZlUmNwdBI7CgphZGRfaGVhZGVyGAQgASgLMhoubXRhZC5maWx0ZXIudjEuSGVh
ZGVyRWRpdEgAUglhZGRIZWFkZXISQQoNaW5zZXJ0X2hlYWRlchgFIAEoCzIaLm10YWQuZmlsdGVyLnYxLkhlYWRlckVkaXRIAFIM
aW5zZXJ0SGVhZGVyEjsKCnNldF9oZWFkZXIYBiABKAsyGi5tdGFkLmZpbHRlci52MS5IZWFkZXJFZGl0SABSCXNldEhlYWRlchJB
Cg1yZW1vdmVfaGVhZGVyGAcgASgLMhoubXRhZC5maWx0ZXIudjEuSGVhZGVyRWRpdEgAUgxyZW1vdmVIZWFkZXISIwoMcmVwbGFj
ZV9ib2R5GAggASgMSABSC3JlcGxhY2VCb2R5EhQKBGhvbGQYCSABKAlIAFIEaG9sZBIgCgpxdWFyYW50aW5lGAogASgJSABSCnF1
YXJhbnRpbmUSNAoJYWRkX3Njb3JlGAsgASgLMhUubXRhZC5maWx0ZXIudjEuU2NvcmVIAFIIYWRkU2NvcmUSRAoPYWRkX2F1dGhf
cmVzdWx0GAwgASgLMhoubXRhZC5maWx0ZXIudjEuQXV0aFJlc3VsdEgAUg1hZGRBdXRoUmVzdWx0EicKA3RhZxgNIAEoCzITLm10
YWQuZmlsdGVyLnYxLlRhZ0gAUgN0YWcSHwoKc2V0X2ZvbGRlchgOIAEoCUgAUglzZXRGb2xkZXISNwoJZmlsZV9pbnRvGA8gASgL
MhgubXRhZC5maWx0ZXIudjEuRmlsZUludG9IAFIIZmlsZUludG8SIQoLY2FuY2VsX2tlZXAYECABKAhIAFIKY2FuY2VsS2VlcBI0
CglzZXRfZmxhZ3MYESABKAsyFS5tdGFkLmZpbHRlci52MS5GbGFnc0gAUghzZXRGbGFncxIcCghyZWRpcmVjdBgSIAEoCUgAUghy
ZWRpcmVjdEIGCgRraW5kIm4KCkhlYWRlckVkaXQSFAoFZmllbGQYASABKAVSBWZpZWxkEhIKBG5hbWUYAiABKAlSBG5hbWUSEAoD
bnRoGAMgASgFUgNudGgSFAoFdmFsdWUYBCABKAlSBXZhbHVlEg4KAmF0GAUgASgFUgJhdCJMCghGaWxlSW50bxIWCgZmb2xkZXIY
ASABKAlSBmZvbGRlchIUCgVmbGFncxgCIAMoCVIFZmxhZ3MSEgoEY29weRgDIAEoCFIEY29weSIdCgVGbGFncxIUCgVmbGFncxgB
IAMoCVIFZmxhZ3MyiQEKBkZpbHRlchI6CghEZXNjcmliZRIULm10YWQuZmlsdGVyLnYxLkhvc3QaGC5tdGFkLmZpbHRlci52MS5N
YW5pZmVzdBJDCgdTZXNzaW9uEhgubXRhZC5maWx0ZXIudjEuVG9QbHVnaW4aGi5tdGFkLmZpbHRlci52MS5Gcm9tUGx1Z2luKAEw
AUIRWg9tdGFkL3Nkay9tdGFkcGJiBnByb3RvMw==
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

    def __init__(self, view, pull):
        self.view = view
        self._pull = pull

    @property
    def sender(self):
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

    def raw(self):
        """The whole message, fetched piece by piece: bytes of an iterator."""
        offset = 0
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

    def quarantine(self, reason):
        self.pb.mods.add().quarantine = reason


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
            judge(ask.stage, Message(ask.view, pull), verdict)
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
