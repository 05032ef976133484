#!/usr/bin/python3
"""zippeek is an example of a filter in Python: it scores messages whose ZIP
archives hold programs, or archives that do.

    filter "external" "zippeek" {
      path   = "plugins/zippeek.py"
      mtls   = false
      config = { points = "8" }
    }

mtad_filter.py, of sdk/python, lies beside this file or in PYTHONPATH.
"""

import email
import email.policy
import io
import os
import sys
import zipfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../sdk/python")]

import mtad_filter  # noqa: E402

PROGRAMS = (".exe", ".scr", ".com", ".bat", ".cmd", ".js", ".jse", ".vbs", ".wsf", ".hta", ".lnk", ".msi", ".ps1")
MAX_MESSAGE = 32 << 20
MAX_INNER = 8 << 20  # octets of an archive within an archive
MAX_NAMES = 1000
MAX_DEPTH = 3


def programs(octets, depth=1):
    """The names of programs in an archive."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(octets))
    except (zipfile.BadZipFile, ValueError):
        return
    for info in archive.infolist()[:MAX_NAMES]:
        name = info.filename.lower()
        if name.endswith(PROGRAMS):
            yield info.filename
        elif name.endswith(".zip") and depth < MAX_DEPTH and not info.flag_bits & 1:
            try:
                with archive.open(info) as f:
                    inner = f.read(MAX_INNER + 1)  # whatever size it claims
            except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError):
                continue
            if len(inner) <= MAX_INNER:
                yield from programs(inner, depth + 1)


def new(config):
    points = float(config.get("points", "5"))

    def judge(_stage, message, verdict):
        if message.view.size > MAX_MESSAGE:
            verdict.note("too large to look into")
            return
        parsed = email.message_from_bytes(b"".join(message.raw()), policy=email.policy.compat32)
        for part in parsed.walk():
            octets = None if part.is_multipart() else part.get_payload(decode=True)
            if not octets or not octets.startswith(b"PK"):
                continue
            for name in programs(octets):
                verdict.add_score("zippeek", points, name)
                verdict.tag("zippeek", name)
                return

    return judge


mtad_filter.serve(
    name="zippeek", version="1.0", stages=["message"], reads=["header", "body"], writes=["score", "tags"],
    options=[("points", "Points for a message with a program in an archive (default 5).", False)],
    pure=True, open=new)
