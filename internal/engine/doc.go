// Package engine runs a [task.Program] against Kafka: it takes part in the group, gives each task the records of its
// partitions, writes what they make of them, and commits offsets, outputs, dead letters and changes of state in rounds,
// under exactly-once in one transaction each. Every record of a source then has taken effect just once, whatever stops or
// fails; and what comes of the records of one partition is written in their order.
//
// An [Engine] has one loop at a time, which belongs to one session with the brokers: it polls, hands runs of records to
// the tasks, and begins and ends rounds. A pool of workers runs the tasks. State that a new task needs is restored
// beside the loop. After everything that a new session can mend an Engine goes on by itself: rebalances, lost brokers,
// transactions that were timed out or fenced. What it cannot mend ends [Engine.Run] with an error that says what to do.
// It never drops a record without a word and never waits without saying so.
package engine
