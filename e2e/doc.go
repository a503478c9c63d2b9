// Package e2e holds the tests of the whole: the binary as it is shipped, run as processes that are killed and stopped,
// on real Apache Kafka brokers that are killed and stopped too. Without Java and Maven, and with -short, they skip.
package e2e
