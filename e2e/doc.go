// Package e2e holds the tests of the whole: the binary as it is shipped, run as processes that are killed and stopped,
// on real Apache Kafka brokers that are killed and stopped too. Without Java and Maven, and with -short, they skip.
//
// MILLRACE_SEED chooses records and faults; each test prints its seed. MILLRACE_TORTURE=N makes TestThreeInstances do
// N long runs with faults at random instead of a short one; that is what `make torture` does. With -artifacts the logs
// of instances and brokers stay.
package e2e
