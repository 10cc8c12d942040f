"""Steps that a clinic goes through with a patient; each is a function of the database."""


class Workflow:
    def __init__(self, name):
        self.name = name
        self.steps = []

    def step(self, function):
        self.steps.append(function)
        return function

    def invoke(self, state):
        for function in self.steps:
            state = function(state) or state
        return state


_workflows = {}


def get_workflow(name):
    if name not in _workflows:
        _workflows[name] = Workflow(name)
    return _workflows[name]
