"""Whether the service answers, for a container's health check; else a traceback."""

import os
import urllib.request
from urllib.parse import urlsplit

path = urlsplit(os.environ["PUBLIC_URL"]).path.rstrip("/")
url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}{path}/healthz"
urllib.request.urlopen(url, timeout=4)
