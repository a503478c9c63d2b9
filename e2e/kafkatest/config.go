//go:build unix

package kafkatest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// newClusterID returns a random id in the form of Kafka's own: 16 bytes in the URL's base 64, which must not
// begin with a dash.
func newClusterID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[0] &= 0x7f    // the first letter is one of A to f
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// properties returns the broker's configuration file, keys sorted.
func (c *Cluster) properties(n *node) []byte {
	copies, inSync := "1", "1"
	if len(c.nodes) >= 3 {
		copies, inSync = "3", "2"
	}
	voters := make([]string, len(c.nodes))
	for i, v := range c.nodes {
		voters[i] = strconv.Itoa(i) + "@" + v.quorum.addr()
	}
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(n.index),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "PLAINTEXT",
		"listeners":                      "PLAINTEXT://" + n.client.addr() + ",CONTROLLER://" + n.quorum.addr(),
		"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT",
		"log.dirs":                       n.dir,
		"broker.rack":                    "az-" + strconv.Itoa(n.index),
		"replica.selector.class":         "org.apache.kafka.common.replica.RackAwareReplicaSelector",

		"default.replication.factor":                       copies,
		"min.insync.replicas":                              inSync,
		"offsets.topic.replication.factor":                 copies,
		"offsets.topic.num.partitions":                     "4",
		"transaction.state.log.replication.factor":         copies,
		"transaction.state.log.min.isr":                    inSync,
		"transaction.state.log.num.partitions":             "4",
		"share.coordinator.state.topic.replication.factor": copies,
		"share.coordinator.state.topic.min.isr":            inSync,
		"share.coordinator.state.topic.num.partitions":     "4",
		"group.initial.rebalance.delay.ms":                 "0",
		"auto.create.topics.enable":                        "false",
		"log.cleaner.dedupe.buffer.size":                   "4194304", // of the heap, for each cleaner
	}
	if c.opts.ACLs {
		p["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		p["allow.everyone.if.no.acl.found"] = "true"
	}
	if len(c.opts.Users) > 0 {
		p["listeners"] += ",SASL://" + n.sasl.addr()
		p["sasl.enabled.mechanisms"] = "PLAIN"
		p["listener.name.sasl.plain.sasl.jaas.config"] = jaas(c.opts.Users)
	}
	maps.Copy(p, c.opts.Config)
	var b bytes.Buffer
	for _, k := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s\n", k, strings.ReplaceAll(p[k], `\`, `\\`))
	}
	return b.Bytes()
}

// jaas returns the login module with the given users and passwords.
func jaas(users map[string]string) string {
	var b strings.Builder
	b.WriteString("org.apache.kafka.common.security.plain.PlainLoginModule required")
	for _, u := range slices.Sorted(maps.Keys(users)) {
		fmt.Fprintf(&b, " user_%s=%q", u, users[u])
	}
	b.WriteByte(';')
	return b.String()
}
