"""Tools of our MCP server: they ask the model of the client."""

from fastmcp import Context, FastMCP
from mcp.server.fastmcp import Context as SdkContext, FastMCP as SdkFastMCP
from mcp.server.session import ServerSession
from mcp.types import SamplingMessage, TextContent

import numpy as np
import random

mcp = FastMCP("studio")
old = SdkFastMCP("studio-old")


@mcp.tool
async def summarise(text: str, ctx: Context) -> str:
    await ctx.info("summarising")  #: not
    await ctx.report_progress(1, 2)  #: not
    result = await ctx.sample(f"Summarise: {text}", max_tokens=200)  #: site
    return result.text


@mcp.tool()
async def rate(text: str, context: Context) -> float:
    answer = await context.sample(messages=[text], system_prompt="Rate it from 0 to 1")  #: site
    confirmed = await context.elicit("Keep it?", response_type=bool)  #: not
    return float(answer.text) if confirmed else 0


@old.tool()
async def poem(topic: str, ctx: SdkContext[ServerSession, None]) -> str:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=topic))
    result = await ctx.session.create_message(messages=[message], max_tokens=100)  #: site
    return result.content.text


async def continue_poem(session: ServerSession, text):
    await session.list_roots()  #: not
    return await session.create_message(messages=[text], max_tokens=100)  #: site


@mcp.tool
async def translate(text: str, ctx: Context):
    return (await ask_client(ctx, f"Translate {text}")).text  #: not


async def ask_client(ctx: Context, text):
    return await ctx.sample(text, temperature=0.2)  #: site


@mcp.prompt()
def review(code: str) -> str:
    return f"Review {code}"


def preview(code):
    return review(code)  #: not


def draw(rows):
    random.sample(rows, 3)  #: not
    return np.random.default_rng().choice(rows)


class Chat:
    def create_message(self, text):
        return text


def post(session: Chat, text):
    return session.create_message(text)  #: not
