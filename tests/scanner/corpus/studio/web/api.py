"""The part that FastAPI serves."""

from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
from anthropic import AsyncAnthropic
from fastapi import Depends, FastAPI, Request
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.llm = ChatOpenAI(model="gpt-4o-mini")
    app.state.openai = AsyncOpenAI()
    app.state.db = await asyncpg.create_pool("postgres://")
    yield
    await app.state.openai.close()  #: not


app = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def attach(request: Request, call_next):
    request.state.claude = AsyncAnthropic()
    return await call_next(request)  #: not


@app.post("/ask")
async def ask(request: Request, text: str):
    return await request.app.state.llm.ainvoke(text)  #: site langchain chat


@app.post("/vector")
async def vector(request: Request, text: str):
    await request.app.state.db.execute("insert into asked values ($1)", text)  #: not
    return await request.app.state.openai.embeddings.create(model="m", input=text)  #: site openai embeddings


@app.post("/claude")
async def claude(request: Request, text: str):
    return await request.state.claude.messages.create(model="c", max_tokens=9, messages=[{"role": "user", "content": text}])  #: site anthropic chat


def get_claude(request: Request):
    return request.state.claude


@app.post("/draft")
async def draft(text: str, client: Annotated[AsyncAnthropic, Depends(get_claude)]):
    async with client.messages.stream(model="c", max_tokens=9, messages=[]) as stream:  #: site anthropic chat
        return await stream.get_final_text()  #: not
