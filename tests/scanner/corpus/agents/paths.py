from django.utils.module_loading import import_string


class ApiSettings:
    """As in many an app's settings: a path becomes what it names when somebody asks."""

    LLM_MODEL = "shop.ai.models.default"
    LLM_PROMPT = "Answer in one word: {question}"

    def __getattribute__(self, name):
        value = object.__getattribute__(self, name)
        return import_string(value) if name == "LLM_MODEL" else value


api_settings = ApiSettings()


def one_word(question):
    prompt = api_settings.LLM_PROMPT.format(question=question)  #: not
    return api_settings.LLM_MODEL.invoke(prompt)  #: site langchain chat
