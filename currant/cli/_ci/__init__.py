"""What servers for continuous integration show of a run: JUnit reports, and GitHub's formats.

- `junit`: the report of ``--junit``
- `annotations`: failures, as GitHub Actions shows them beside a run
- `groups`: parts of a log, which GitHub Actions folds
- `step_summary`: a table, which GitHub Actions shows on the page of a run
- `result_texts`: what all of these say about a command
- `reports`: all of these at the end of `currant run`, `start` and `with`

These modules are about results.  None imports click or a job of `currant map`, which reports each
job when it has ended.
"""
