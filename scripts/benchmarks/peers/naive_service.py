"""The service as one would write it first: FastAPI, `def` routes, a pool, stock eventsourcing.

Lookups read the same tables as ours; commands save one aggregate with the library's own recorder.
Run as: naive_service.py SOCKET_DIR DATABASE STOCK_DATABASE USER POOL_SIZE, with the key of the
tables' blind indexes in INDEX_KEY, that of the cipher they are stored under in INDEX_CIPHER, and
what they begin with in INDEX_FORM. POOL_SIZE: returned connections that the pool keeps open.
"""

import hashlib
import hmac
import json
import os
import socket
import sys
from contextlib import contextmanager
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psycopg2.extras
import psycopg2.pool
import uvicorn
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel

socket_dir, database, stock_database, user, pool_size = sys.argv[1:6]
pool = psycopg2.pool.ThreadedConnectionPool(
    int(pool_size), 40, host=socket_dir, dbname=database, user=user,
    cursor_factory=psycopg2.extras.RealDictCursor,
)  # fmt: skip
app = FastAPI()

BY_TOKEN = "SELECT * FROM views.certificates WHERE verify_token = %s AND issued"
BY_NUMBER = "SELECT * FROM views.certificates WHERE number = %s AND issued"

INDEX_KEY = bytes.fromhex(os.environ["INDEX_KEY"])
INDEX_FORM = os.environ["INDEX_FORM"]
STORED = Cipher(AES(bytes.fromhex(os.environ["INDEX_CIPHER"])), ECB())


@contextmanager
def cursor() -> Any:
    connection = pool.getconn()
    try:
        with connection, connection.cursor() as opened:
            yield opened
    finally:
        pool.putconn(connection)


@app.get("/v/{token}")
def verify(token: str) -> dict[str, Any]:
    with cursor() as opened:
        opened.execute(BY_TOKEN, (token,))
        row = opened.fetchone()
    if row is None:
        raise HTTPException(404)
    return {k: v for k, v in row.items() if not isinstance(v, memoryview)}


class Lookup(BaseModel):
    certificate_number: str
    name: str


@app.post("/lookup")
def lookup(body: Lookup) -> dict[str, Any]:
    text = f"name|{body.name}".encode()
    mac = hmac.new(INDEX_KEY, text, hashlib.sha256).digest()
    index = f"{INDEX_FORM}:{STORED.encryptor().update(mac).hex()}"
    with cursor() as opened:
        opened.execute(BY_NUMBER, (body.certificate_number,))
        rows = [row for row in opened.fetchall() if row.pop("name_index") == index]
    return {"certificates": rows}


class OpenApplication(BaseModel):
    application_id: str
    person_id: str
    occupation: str
    edition: str
    level: int
    qualifications: dict[str, Any]


class JobApplication(Aggregate):
    @event("Opened")
    def __init__(self, application_id: str, body: str) -> None:
        self.application_id = application_id
        self.body = body

    @staticmethod
    def create_id(application_id: str) -> Any:
        return uuid5(NAMESPACE_URL, application_id)


application: Application[Any] = Application(
    env={
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": stock_database,
        "POSTGRES_HOST": socket_dir,
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": user,
        "POSTGRES_PASSWORD": "",
        "POSTGRES_POOL_SIZE": "40",
    }
)


@app.post("/applications", status_code=201)
def open_application(
    body: OpenApplication, authorization: str = Header(), idempotency_key: str = Header()
) -> dict[str, Any]:
    if not authorization.startswith("Bearer "):
        raise HTTPException(401)
    if body.level not in range(1, 6):
        raise HTTPException(422)
    saved = JobApplication(body.application_id, body.model_dump_json())
    application.save(saved)
    digest = hashlib.sha256(json.dumps(body.model_dump()).encode()).hexdigest()
    return {"application_id": body.application_id, "version": 1, "digest": digest}


if __name__ == "__main__":
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(2048)
    print("port", listening.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
