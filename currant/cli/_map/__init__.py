"""`currant map`: one job for each value, from the arguments, from files or from stdin.

`command` declares the options for click, with the value types in `parsers`; `options` has their
types, and `option_rules` says which go together.  `plan` turns the options into a plan, with
`command_options` for all commands, and `main` runs its jobs, with `settings`.

- From values to jobs: `arguments` splits the words of the command line.  `chunks` and `lines` read
  a file or stdin without blocking the event loop, `parsing` makes rows of lines, `sources` reads
  the rows of one source, and `inputs` combines the rows of several.  `from_parallel` looks for what
  only GNU parallel understands.  `blocks` cuts stdin into blocks, one for each `job`.  `pace` says
  when the next job may start, and `resume` leaves out those that an earlier run has logged.
- What is shown: `output`, with the `held_output` of groups, and `progress`; at the end `summary`
  and `exit_status`.
- What is written: `results_writer` has a thread for `results_folder` and `job_log` (read by
  `logged_jobs`).  These and `json_lines` take an `ended` job, as do the reports of
  `currant.cli._ci`.
"""
