"""Run the stub provider: `python -m project.stub --port 9100`."""

from __future__ import annotations

import argparse
import sys

from project.ending import EndSignal
from project.stub.billing.keys import ADMIN_KEYS
from project.stub.endpoints import PROVIDERS
from project.stub.server import StubProvider


def main(argv: list[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m project.stub", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9100, help="0 takes any free port")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between stream events")
    parser.add_argument("--keep", type=int, default=1000, help="number of requests in the journal")
    options = parser.parse_args(argv)
    end = EndSignal()
    stub = StubProvider(options.host, options.port, pace=options.pace, keep=options.keep)
    with stub:
        print(f"{stub.url}", flush=True)
        print("  OpenAI     base_url =", stub.openai_url)
        print("  Anthropic  base_url =", stub.anthropic_url)
        print("  Gemini     base_url =", stub.google_url)
        print("  others     paths", *(f"/{place}" for place in PROVIDERS))
        print("  bills      admin keys", *ADMIN_KEYS.values())
        print(f"  journal    GET {stub.url}/journal (DELETE clears it)", flush=True)
        end.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
