"""The audit over HTTP: `POST /v1/feedback`, and `GET /v1/audit` for those who administer the server."""

from dataclasses import dataclass

from corea.gateway.asgi import Receive, Scope, Send, encode_json, send_response
from corea.gateway.audit.auditor import Auditor
from corea.gateway.audit.evidence import evidence_of
from corea.gateway.audit.feedback import take_feedback
from corea.gateway.billing.auth import Principal, accounts_unavailable
from corea.gateway.billing.database import DatabaseUnavailable
from corea.gateway.billing.keys import Role
from corea.gateway.errors import GatewayError
from corea.gateway.server.body import read_body

FEEDBACK, AUDIT = "/v1/feedback", "/v1/audit"
METHODS = {FEEDBACK: "POST", AUDIT: "GET"}


@dataclass(frozen=True, slots=True)
class AuditPages:
    """Answers requests to the paths of the audit."""

    auditor: Auditor

    async def answer(self, path: str, scope: Scope, receive: Receive, send: Send, principal: Principal) -> None:
        """Answers one request.

        Raises:
            GatewayError: The method is another one, the key may not, the label cannot be taken, or 503, the database
                is away.
        """
        if scope["method"] != METHODS[path]:
            message, headers = f"{path}: only {METHODS[path]} is served.", (("allow", METHODS[path]),)
            raise GatewayError(405, message, code="method_not_allowed", headers=headers)
        admin = self._may_administer(principal)
        if path == AUDIT and not admin:
            message = "The audit is read with an admin key: `corea keys admin NAME` makes one."
            raise GatewayError(403, message, "permission_error", "admin_only")
        try:
            if path == FEEDBACK:
                body = await read_body(scope, receive, self.auditor.settings)
                found: object = await take_feedback(self.auditor, body, principal, admin=admin)
            else:
                found = await self.auditor.store.run(evidence_of, reads=True)
        except DatabaseUnavailable as error:
            raise accounts_unavailable() from error
        await send_response(send, encode_json(found))

    @staticmethod
    def _may_administer(principal: Principal) -> bool:
        """True for admin keys, and for everyone on a server that has no keys."""
        return principal.id is None or getattr(principal, "role", None) == Role.ADMIN
