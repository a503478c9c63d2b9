// Package task runs compiled topologies, one task at a time: a sub-topology on one partition of its topics. It knows
// neither Kafka nor the types of keys and values: a driver feeds it records and takes its output, and the package
// stream gives it processors. The same tasks so run on Kafka and in tests without a broker.
package task
