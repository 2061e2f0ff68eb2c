"""Ways of reaching a chat model, each a plug-in of the group ``medeval.clients``.

openai        any OpenAI-compatible server: OpenAI, vLLM, Ollama, llama.cpp, Azure
langchain     any LangChain chat model or Runnable
transformers  a local model of Hugging Face transformers
scripted      rules or replies from a file: tests and offline demos
replay        a recorded run; never calls out
human         a person in the terminal
"""
