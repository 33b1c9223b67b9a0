"""``currant with SERVER… -- TEST``: start servers, wait until they are ready, and run a test.

One Runner runs the servers and the test.  The test waits for the servers (`after`), and the end of
any command stops the others (`kill_others_on`).  The test is a command, too, and has the terminal.

`command` declares the `options` for click.  `plan` builds the Runner; `config_servers` finds the
servers of a configuration, and `ports` holds free ports.  `main` runs the Runner, `foreground`
lends the terminal to the test, and `failure` says which server has ended before the test.
"""
