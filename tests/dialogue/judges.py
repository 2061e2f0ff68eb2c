"""Judges for tests that are clients of the harness: each reads what a real one would be sent, and answers in text."""

import json
import re

from medeval.llm import Capabilities, ClientIdentity, Reply


class Judge:
    """Gives every item one score, in the order asked for, quoting nothing."""

    capabilities = Capabilities(forms=("text",), cacheable=False, paid=False)

    def __init__(self, score: int = 9, name: str = "constant") -> None:
        self.score, self.identity = score, ClientIdentity("test", f"{name} {score}")

    def verdict(self, request, item) -> int:
        return self.score

    def text(self, request, verdicts) -> str:
        return json.dumps({"verdicts": verdicts})

    async def complete(self, request):
        items = re.findall(r'\{"item": "([^"]+)"', request.messages[-1].content)
        verdicts = [
            {"item": name, "evidence": [], "applicable": True, "score": self.verdict(request, name)}
            for name in items
        ]
        return Reply(text=self.text(request, verdicts))


class Moody(Judge):
    """Changes its mind with the number of the sample."""

    def verdict(self, request, item) -> int:
        return request.sample % 2


class Quoting(Judge):
    """Finds nothing good, and ends its reply with a quotation of all that the doctor wrote."""

    def text(self, request, verdicts) -> str:
        shown = request.messages[1].content.split("\n", 1)[1].rsplit("\n", 1)[0]
        said = "\n".join(turn["text"] for turn in json.loads(shown) if turn["speaker"] == "doctor")
        return f"{json.dumps({'verdicts': verdicts})}\nFor the record, the doctor wrote:\n{said}"


class Same:
    """A judge of diagnoses that finds every answer with a word in it the same."""

    capabilities = Capabilities(forms=("text",), cacheable=False, paid=False)
    identity = ClientIdentity("test", "same")

    def __init__(self, word: str = "malady") -> None:
        self.word = word

    async def complete(self, request):
        answers = json.loads(request.messages[-1].content.split("\n\n")[0])["answers"]
        found = ["same" if self.word in answer.lower() else "different" for answer in answers]
        return Reply(text=json.dumps({"verdicts": found}))
