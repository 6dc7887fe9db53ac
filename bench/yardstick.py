"""The yardstick: the least that a Flask application on waitress can cost."""

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/")
def hello() -> Response:
    """Flask's Hello World, as JSON."""
    return jsonify(ok=True)
