"""A mail server that nobody here wrote: aiosmtpd, which stores nothing and tells what it got.

Usage: mail_server.py [--certificate FILE --key FILE [--implicit]] [--user NAME --password WORD]

Prints its port, then for every mail one line of JSON: the envelope, whether the connection was
encrypted, the headers and the decoded parts as Python's own e-mail package reads them, and the
SHA-256 of the bytes. It ends when its standard input does.
"""

import argparse
import asyncio
import email
import email.policy
import hashlib
import json
import logging
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Handler:
    async def handle_DATA(self, server, session, envelope):
        raw = envelope.original_content
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        parts = [
            {"type": part.get_content_type(), "text": part.get_content()}
            for part in mail.walk()
            if not part.is_multipart()
        ]
        tell(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "encrypted": session.ssl is not None
                or server.transport.get_extra_info("ssl_object") is not None,
                "user": session.auth_data.login.decode() if session.authenticated else None,
                "headers": [[name, str(value)] for name, value in mail.items()],
                "defects": [str(defect) for defect in all_defects(mail)],
                "parts": parts,
                "sha256": hashlib.sha256(raw).hexdigest(),
            }
        )
        return "250 2.0.0 taken"


def all_defects(mail):
    for part in mail.walk():
        yield from part.defects
        for value in part.values():
            yield from value.defects


def tell(value):
    print(json.dumps(value), flush=True)


def authenticator(user, password):
    def judge(server, session, envelope, mechanism, auth_data):
        right = isinstance(auth_data, LoginPassword) and (
            auth_data.login,
            auth_data.password,
        ) == (user.encode(), password.encode())
        # The answer to a wrong password is aiosmtpd's own 535.
        return AuthResult(success=right, auth_data=auth_data, handled=False)

    return judge


async def serve(arguments):
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate, arguments.key)
    options = {"hostname": "mail.test", "enable_SMTPUTF8": False}
    if context and not arguments.implicit:
        options.update(tls_context=context, require_starttls=True)
    if arguments.user:
        options.update(
            authenticator=authenticator(arguments.user, arguments.password),
            auth_required=True,
            # aiosmtpd counts STARTTLS alone as TLS.
            auth_require_tls=not arguments.implicit,
        )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Handler(), loop=loop, **options),
        host="127.0.0.1",
        port=0,
        ssl=context if arguments.implicit else None,
    )
    tell(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


# A client that hangs up is what some tests are about.
logging.disable()
parser = argparse.ArgumentParser()
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--implicit", action="store_true")
parser.add_argument("--user")
parser.add_argument("--password")
asyncio.run(serve(parser.parse_args()))
