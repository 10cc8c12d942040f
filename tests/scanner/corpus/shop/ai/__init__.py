from .clients import get_client, get_claude as claude_factory
from .services import *
