"""`python -m project.stub --port 9100`: the stub provider as a program."""

from __future__ import annotations

import argparse
import sys

from project.ending import EndSignal
from project.stub.endpoints import PROVIDERS
from project.stub.server import StubProvider


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m project.stub", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9100, help="0 takes any free port")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between stream events")
    parser.add_argument("--keep", type=int, default=1000, help="requests that the journal keeps")
    options = parser.parse_args(argv)
    end = EndSignal()
    stub = StubProvider(options.host, options.port, pace=options.pace, keep=options.keep)
    with stub:
        print(f"{stub.url}", flush=True)
        print("  OpenAI     base_url =", stub.openai_url)
        print("  Anthropic  base_url =", stub.anthropic_url)
        print("  Gemini     base_url =", stub.google_url)
        print("  others     below", *(f"/{place}" for place in PROVIDERS))
        print(f"  what it served: GET {stub.url}/journal   forget it: DELETE", flush=True)
        end.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
