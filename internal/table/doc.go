// Package table holds the rows of reference data in memory, for look-ups by the records of a stream: a [Table] of rows by
// key, with their history, and [Ranges] of network addresses.
//
// # History
//
// A row of a table is valid from the time of the change that made it, inclusive, until that of the next change of its key,
// exclusive. A row of a snapshot is valid from the beginning of time, unless something older is known of its key. A look-up
// asks for the row that was valid at a time, so that a record is joined with what was true when it was made. Changes may
// come in any order: one that is older than others of its key goes to its place among them. Of two with the same time the one
// that was applied later stands.
//
// A table forgets what has ended before its horizon, which is the newest time of all its changes but tombstones, less [Options.History]: the
// row that was valid at the horizon stays, what ended earlier gives nil. The latest row of a key stays for good. A delete is
// forgotten when the horizon has passed it; a change that is older still and comes after that is taken for a new row. One
// change from the far future thus moves the horizon there: whoever applies changes sees to it that none does.
//
// What a look-up gives depends on the changes and their order alone, not on when memory is given back.
//
// # A table without history
//
// With History 0 a look-up gives the latest row, whatever time it asks for, and the latest is the one that was applied last,
// whatever its time: a topic has the changes of a key in the order in which they were committed, while the times of a database
// may go backwards (in MySQL's log they are when statements began).
package table
