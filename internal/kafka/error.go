package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Code is the kind of an [Error], for programs.
type Code string

// The codes of an [Error].
const (
	CodeUnavailable     Code = "unavailable"     // no broker answers, or the cluster cannot serve now; a retry may help
	CodeUnauthenticated Code = "unauthenticated" // the brokers do not accept the credentials, or the kind of connection
	CodeUnauthorized    Code = "unauthorized"    // an ACL is missing
	CodeUnknownTopic    Code = "unknown_topic"   // the topic does not exist
	CodeTopicExists     Code = "topic_exists"    // the topic to be created is there already
	CodeTopicChanged    Code = "topic_changed"   // the topic was deleted, or deleted and made anew, while it was in use
	CodeOutOfRange      Code = "out_of_range"    // the topic does not have the offset to be read, or not any more
	CodeUnsupported     Code = "unsupported"     // the brokers are too old, or lack a feature
	CodeFenced          Code = "fenced"          // another process took over the transactional id or the instance id
	CodeRejected        Code = "rejected"        // the broker refuses a record for what it is
	CodeConfig          Code = "config"          // a setting of ours does not fit the cluster
	CodeInternal        Code = "internal"        // anything else
)

// ExitStatus returns the process's exit status for an error of this kind: 2 where the configuration has to
// change before another try makes sense, else 1.
func (c Code) ExitStatus() int {
	switch c {
	case CodeUnauthenticated, CodeUnauthorized, CodeUnknownTopic, CodeTopicExists, CodeUnsupported, CodeConfig, CodeFenced:
		return 2
	default:
		return 1
	}
}

// Error is an error that a person has to act on. It holds no secret and no value of a record.
type Error struct {
	Code  Code
	Op    string // what was tried: "read topic"
	Where string // on what: "houses", "houses/3", "group house-prices"
	Hint  string // what to do, one sentence; "" where nothing useful can be said
	Err   error  // the cause; may be nil
}

// Error returns what failed, where and why, without the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("kafka: ")
	b.WriteString(e.Op)
	if e.Where != "" {
		b.WriteString(" " + e.Where)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// worded is a cause with a text for people in the place of its own.
type worded struct {
	text  string
	cause error
}

// Error returns the text for people.
func (w *worded) Error() string { return w.text }

// Unwrap returns the cause.
func (w *worded) Unwrap() error { return w.cause }

// Recovery says what an error leaves to be done.
type Recovery int

// The recoveries, the mildest first.
const (
	// Retry is for an error after which the same client or session can go on.
	Retry Recovery = iota
	// Reopen is for an error after which the session is of no use: close it, open another, and go on from the
	// committed offsets. Nothing is lost by that and nothing is done twice.
	Reopen
	// Fatal is for an error that no new session mends.
	Fatal
)

// Recover decides what err leaves to be done. Nothing else in millrace decides whether an error of Kafka is
// worth another try. Of an error that it does not know it thinks that a new session may help: the session
// starts from what is committed, so that a needless one costs time only.
func Recover(err error) Recovery {
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Code {
		case CodeUnauthenticated, CodeUnauthorized, CodeUnknownTopic, CodeTopicExists, CodeTopicChanged, CodeUnsupported, CodeConfig, CodeRejected:
			return Fatal
		case CodeFenced:
			if errors.Is(err, kerr.FencedInstanceID) {
				return Fatal
			}
			return Reopen
		case CodeUnavailable, CodeOutOfRange, CodeInternal:
		}
	}
	if _, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
		return Retry // the client has moved on already; the loss is reported
	}
	switch code := codeOf(err); code {
	case CodeUnauthenticated, CodeUnauthorized, CodeUnsupported, CodeConfig, CodeTopicExists:
		return Fatal
	case CodeFenced:
		if errors.Is(err, kerr.FencedInstanceID) {
			return Fatal
		}
		return Reopen
	default:
	}
	if _, ok := errors.AsType[*kgo.ErrGroupSession](err); ok {
		return Retry // the client joins again by itself
	}
	return Reopen
}

// codeOf classifies an error of the client library or of a broker.
func codeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	is := func(list ...error) bool {
		for _, e := range list {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	switch {
	case is(kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState), tlsFault(err):
		return CodeUnauthenticated
	case is(kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.ClusterAuthorizationFailed):
		return CodeUnauthorized
	case is(kerr.UnknownTopicOrPartition, kerr.UnknownTopicID):
		return CodeUnknownTopic
	case is(kerr.TopicAlreadyExists):
		return CodeTopicExists
	case is(kerr.UnsupportedVersion, kerr.UnsupportedForMessageFormat):
		return CodeUnsupported
	case is(kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.FencedInstanceID):
		return CodeFenced
	case is(kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp):
		return CodeRejected
	case is(kerr.InvalidTransactionTimeout, kerr.InvalidSessionTimeout, kerr.InvalidGroupID, kerr.InconsistentGroupProtocol, kerr.GroupMaxSizeReached,
		kerr.InvalidPartitions, kerr.InvalidReplicationFactor, kerr.InvalidConfig, kerr.InvalidTopicException, kerr.PolicyViolation):
		return CodeConfig
	case unreachable(err):
		return CodeUnavailable
	default:
		return CodeInternal
	}
}

// unreachable tells whether err means that brokers could not be talked to, or could not serve for now.
func unreachable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	k, ok := errors.AsType[*kerr.Error](err)
	return ok && k.Retriable
}

// explain makes a user-facing error of err: op and where say what was tried, need is the ACL that op needs.
func explain(op, where, need string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	e := &Error{Code: codeOf(err), Op: op, Where: where, Err: err}
	switch e.Code {
	case CodeUnavailable:
		e.Hint = "check that the brokers run and that the addresses are right"
		if errors.Is(err, io.EOF) {
			e.Hint = hangUpHint
		}
	case CodeUnauthenticated:
		e.Hint = "check tls and sasl of the kafka section against what the brokers' listener wants"
	case CodeUnauthorized:
		e.Hint = "the principal needs the ACL: " + need
		if need == "" {
			e.Hint = "ask for the ACL"
		}
	case CodeUnknownTopic:
		e.Err = &worded{"it does not exist", err}
		e.Hint = "create the topic first, or mend its name"
	case CodeUnsupported:
		e.Hint = "millrace needs Apache Kafka 2.5 or newer"
	case CodeFenced:
		e.Hint = "another process uses the same instance id, or this one was paused for longer than the transaction timeout; give every instance an id of its own"
	case CodeConfig:
		e.Hint = "the cluster refuses a setting; see the cause"
	case CodeTopicExists, CodeTopicChanged, CodeOutOfRange, CodeRejected, CodeInternal:
	}
	return e
}

// hangUpHint is for brokers that close a connection before they have answered: they do so when they stop, and some
// when they expect another kind of connection or do not know the credentials, without a word.
const hangUpHint = "the brokers close the connection at once; check tls and sasl of the kafka section, the credentials too, against what the brokers' listener wants"

// nobodyAnswers returns the error for a cluster of which no broker answers; cause may be nil.
func nobodyAnswers(op string, brokers []string, cause error) error {
	e := &Error{
		Code: CodeUnavailable, Op: op, Where: "[" + strings.Join(brokers, " ") + "]",
		Hint: "check that the brokers run, that the addresses are right, and that no firewall is in between",
		Err:  errors.New("no broker answers"),
	}
	if errors.Is(cause, io.EOF) {
		e.Hint = hangUpHint
	}
	if dial, ok := errors.AsType[*net.OpError](cause); ok {
		cause = dial // without what the library says around it
	}
	if cause != nil {
		e.Err = fmt.Errorf("no broker answers: %w", cause)
	}
	return e
}
