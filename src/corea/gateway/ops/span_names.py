"""Names of spans' attributes, by OpenTelemetry's GenAI conventions (repository semantic-conventions-genai, v0.1.0).

The conventions are in development, and the Python package's constants are deprecated, so all names are here.
"""

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_SEED = "gen_ai.request.seed"
REQUEST_STOP = "gen_ai.request.stop_sequences"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_FINISH = "gen_ai.response.finish_reasons"
RESPONSE_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"  # seconds
INPUT_TOKENS = "gen_ai.usage.input_tokens"  # cached ones included
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"

ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
METHOD = "http.request.method"
ROUTE = "http.route"
STATUS = "http.response.status_code"

CASCADE = "corea.cascade"
STAGE = "corea.stage"
CONFIDENCE = "corea.confidence"
THRESHOLD = "corea.threshold"
DECISION = "corea.decision"
COST_USD = "corea.cost_usd"
SAVED_USD = "corea.saved_usd"
CACHED = "corea.cached"
TRACE_ID = "corea.trace_id"

IN_PROCESS = "corea"  # provider of a model in this process
OPENAI = "openai"  # the protocol, where the host is none of these
PROVIDERS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral_ai",
    "api.groq.com": "groq",
    "api.x.ai": "x_ai",
    "api.perplexity.ai": "perplexity",
    "api.cohere.com": "cohere",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
}  # by the end of the host's name


def provider_of(host: str) -> str:
    """The provider at a host."""
    found = (name for end, name in PROVIDERS.items() if host == end or host.endswith((f".{end}", f"-{end}")))
    return next(found, OPENAI)
