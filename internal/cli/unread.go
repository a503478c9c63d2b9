package cli

import "errors"

// errUnread says that nobody can read the command's output any more.
var errUnread = errors.New("nobody reads the output")

// unreadCode is the exit code of a command whose output nobody reads: what a shell makes of SIGPIPE, which kills a
// command that writes there.
const unreadCode = 128 + 13
