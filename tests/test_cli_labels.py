"""The default name of a command line: what the line runs."""

from __future__ import annotations

import pytest

from currant.cli._prepare.labels import default_name


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("npm run build", "build"),
        ("npm run dev -- --port 3000", "dev"),
        ("npm --prefix web run lint:css", "lint:css"),
        ("npm start", "start"),
        ("npm", "npm"),
        ("npm run", "npm"),
        ("npm exec -- vite", "vite"),
        ("npx tsc --watch", "tsc"),
        ("pnpm --filter web dev", "dev"),
        ("yarn run dev", "dev"),
        ("yarn dev", "dev"),
        ("bun run server.ts", "server.ts"),
        ("deno task dev", "dev"),
        ("python -m http.server 8000", "http.server"),
        ("python3.11 -u -m celery -A app worker", "celery"),
        ("./venv/bin/python -W error jobs/mail.py", "mail.py"),
        ("python -c 'print(1)'", "python"),
        ("node server.js", "server.js"),
        ("node -e 1", "node"),
        ("uv run pytest -x", "pytest"),
        ("uv run --with httpx python -m app.main", "app.main"),
        ("uv run -m app", "app"),
        ("uv sync", "uv"),
        ("poetry run celery -A app worker", "celery"),
        ("bundle exec rails server", "rails"),
        ("make build", "build"),
        ("make -C web CC=cc test", "test"),
        ("make 2>&1 | tee log", "make"),
        ("make > log", "make"),
        ("docker compose up web", "web"),
        ("docker compose -f dev.yml up -d", "up"),
        ("docker-compose up db", "db"),
        ("docker run redis", "docker"),
        ("cd web && npm run dev", "dev"),
        ("(cd web; exec make watch)", "watch"),
        ("export A=1; B=2 env C=3 node a.js", "a.js"),
        ("sleep 5 && npm run dev", "sleep"),
        ("/bin/echo 1", "echo"),
        ("A=1 sh -c 'echo $A'", "sh"),
        ("bash -lc 'make x'", "bash"),
        ("bin/run.sh web", "run.sh"),
        ("tool --set a=b", "tool"),
        ("a|b", "a"),
        ("cd web", "cd"),
        ("exit 3", "exit"),
        ("A=1", "sh"),
        ("", "sh"),
        ("# nothing", "#"),
        ("echo 'open", "echo"),
    ],
)
def test_line_is_named_after_what_runs(line: str, label: str) -> None:
    """Launchers and options are skipped; any other line is named after its program."""
    assert default_name(line) == label
