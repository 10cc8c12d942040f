from langchain.chains import ConversationChain, LLMChain, RetrievalQA
from langchain.agents import AgentExecutor, create_openai_tools_agent, initialize_agent
from langchain.prompts import PromptTemplate
from langchain_anthropic import ChatAnthropic
from langchain_community.vectorstores import FAISS
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.tools import tool
from langchain_huggingface import HuggingFaceEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter

prompt = ChatPromptTemplate.from_messages([("user", "{x}")])
parser = StrOutputParser()


@tool
def search(query: str) -> str:
    """Searches."""
    return query


def build(provider="openai"):
    if provider == "anthropic":
        return ChatAnthropic(model="claude")
    return ChatOpenAI(model="gpt-4o")


class Chains:
    def __init__(self, llm=None):
        self.llm = llm or build()
        self.chain = prompt | self.llm | parser
        self.qa = LLMChain(llm=self.llm, prompt=prompt)
        self.structured = self.llm.with_structured_output(dict)
        self.embeddings = OpenAIEmbeddings()
        self.local = HuggingFaceEmbeddings()
        self.tools = [search]

    def invoke_all(self, text):
        self.llm.invoke(text)  #: site langchain chat
        self.llm.invoke([HumanMessage(content=text)])  #: site langchain chat
        self.chain.invoke({"x": text})  #: site langchain chain
        self.qa.run(text)  #: site langchain chain
        self.qa({"x": text})  #: site langchain chain
        self.structured.invoke(text)  #: site langchain chat
        self.llm.bind_tools(self.tools).invoke(text)  #: site langchain chat
        self.llm(text)  #: site langchain chat
        self.llm.predict(text)  #: site langchain chat
        (prompt | self.llm).invoke({"x": text})  #: site langchain chain
        for chunk in self.chain.stream({"x": text}):  #: site langchain chain
            yield chunk
        self.embeddings.embed_query(text)  #: site langchain embeddings
        self.local.embed_query(text)  #: not
        self.local.embed_documents([text])  #: not
        prompt.invoke({"x": text})  #: not
        parser.invoke(text)  #: not
        parser.parse(text)  #: not
        prompt.format_messages(x=text)  #: not
        search.invoke({"query": text})  #: not
        search.run(text)  #: not
        RunnableLambda(str).invoke(text)  #: not
        (prompt | RunnableLambda(str)).invoke({"x": text})  #: not
        JsonOutputParser().parse(text)  #: not
        RecursiveCharacterTextSplitter().split_text(text)  #: not

    async def asynchronous(self, text):
        await self.llm.ainvoke(text)  #: site langchain chat
        await self.chain.ainvoke(text)  #: site langchain chain
        async for chunk in self.llm.astream(text):  #: site langchain chat
            print(chunk)
        async for event in self.chain.astream_events({}, version="v2"):  #: site langchain chain
            print(event)
        await prompt.ainvoke({})  #: not

    def rag(self, docs, question):
        store = FAISS.from_documents(docs, self.embeddings)  #: site langchain embeddings
        retriever = store.as_retriever()
        retriever.invoke(question)  #: site langchain embeddings
        chain = {"context": retriever, "question": RunnablePassthrough()} | prompt | self.llm | parser
        chain.invoke(question)  #: site langchain chain
        qa = RetrievalQA.from_chain_type(llm=self.llm, retriever=retriever)
        qa.run(question)  #: site langchain chain
        store.save_local("x")  #: not
        return store.similarity_search(question)  #: site langchain embeddings

    def agent(self, text):
        agent = create_openai_tools_agent(self.llm, self.tools, prompt)
        executor = AgentExecutor(agent=agent, tools=self.tools)
        executor.invoke({"input": text})  #: site langchain chain
        old = initialize_agent(self.tools, self.llm)
        old.run(text)  #: site langchain chain
        return ConversationChain(llm=self.llm).predict(input=text)  #: site langchain chain


def simple(llm, text):
    return llm.invoke(text)  #: site langchain chat


def typed(model: ChatOpenAI, text):
    return model.invoke(text)  #: site langchain chat


def retried(text):
    model = build().with_retry().with_config({})
    return model.invoke(text)  #: site langchain chat


def template(text):
    old = PromptTemplate.from_template("x {y}")
    old.format(y=text)  #: not
    return (old | build()).invoke({"y": text})  #: site langchain chain


class Own(ChatOpenAI):
    def short(self, text):
        return self.invoke(text)  #: site langchain chat


def own(text):
    model = Own()
    model.short(text)  #: not
    return model.invoke(text)  #: site langchain chat
