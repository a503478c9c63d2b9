package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/secret"
	"millrace.dev/internal/task"
	"millrace.dev/internal/testenv"
	"millrace.dev/record"
	"millrace.dev/stream"
)

func wantError(t *testing.T, err error, code kafka.Code, where string) {
	t.Helper()
	k, ok := errors.AsType[*kafka.Error](err)
	if !ok || k.Code != code || !strings.Contains(k.Where, where) || k.Hint == "" {
		t.Errorf("error %v (%+v), want code %s at %s with a hint", err, k, code, where)
	}
}

func TestUnknownTopic(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{"source", "sink", "letters"} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			bubble(t, 1, func(t *testing.T, w *world) {
				in := w.run(func(o *setup) {
					switch topic {
					case "source":
						o.source = "nowhere"
					case "sink":
						o.sink = "nowhere"
					default:
						o.letters = "nowhere"
					}
				})
				<-in.done
				wantError(t, in.err, kafka.CodeUnknownTopic, "nowhere")
				if s := in.Stats().State; s != Failed {
					t.Errorf("state %s", s)
				}
			})
		})
	}
}

func TestTopicChanges(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{source, sink, letters} {
		for _, anew := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %t", topic, anew), func(t *testing.T) {
				t.Parallel()
				bubble(t, 3, func(t *testing.T, w *world) {
					w.write(500, seeded(t, 1))
					in := w.run()
					w.drained()
					if err := w.cluster.DeleteTopic(topic); err != nil {
						t.Fatal(err)
					}
					if anew {
						if err := w.cluster.CreateTopic(topic, 3, nil); err != nil {
							t.Fatal(err)
						}
					}
					<-in.done
					wantError(t, in.err, kafka.CodeTopicChanged, topic)
				})
			})
		}
	}
}

func TestCompactedTopics(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.topic("compacted", map[string]string{"cleanup.policy": "compact"})
		bad := w.run(func(o *setup) { o.letters = "compacted" })
		<-bad.done
		wantError(t, bad.err, kafka.CodeConfig, "compacted")
		w.put(record.Raw{Value: []byte("no key")}, record.Raw{Key: []byte("a"), Value: []byte("key")})
		in := w.run(func(o *setup) { o.sink = "compacted" })
		w.drained()
		in.stop(t)
		if s := in.Stats(); s.Written != 1 || s.DeadLetters[Kind{"produce", "null_key"}] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestBrokersAway(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []Guarantee{ExactlyOnce, AtLeastOnce} {
		t.Run(string(guarantee), func(t *testing.T) {
			t.Parallel()
			bubble(t, 6, func(t *testing.T, w *world) {
				rng := seeded(t, 1)
				w.write(500, rng)
				first := w.run(func(o *setup) { o.Guarantee = guarantee })
				w.drained()
				for _, away := range []time.Duration{sessionTimeout / 3, 3 * sessionTimeout} {
					w.cluster.Close()
					late := w.run(func(o *setup) { o.Guarantee = guarantee })
					w.until("a line about the brokers", func() bool { return late.Stats().State == WaitingForBroker })
					time.Sleep(away)
					w.start()
					w.write(500, rng)
					w.drained()
					w.until("both to run", func() bool { return late.Stats().State == Running && first.Stats().State == Running })
					late.stop(t)
					if n := strings.Count(late.log.String(), "kafka does not answer"); n == 0 || n > 20 {
						t.Errorf("%d lines about the brokers:\n%s", n, late.log)
					}
				}
				first.stop(t)
				w.verify()
			}, kfake.DataDir(t.TempDir()))
		})
	}
}

// TestBrokersRestartUnderLoad stops and starts the brokers while records come.
func TestBrokersRestartUnderLoad(t *testing.T) {
	t.Parallel()
	bubble(t, 6, func(t *testing.T, w *world) {
		rng := seeded(t, 1)
		a, b := w.run(), w.run()
		for range 4 {
			for range 20 {
				w.write(40, rng)
				time.Sleep(10 * time.Millisecond)
			}
			w.cluster.Close() // in the middle of transactions
			time.Sleep(upTo(rng, sessionTimeout))
			w.start()
		}
		w.drained()
		a.stop(t)
		b.stop(t)
		w.verify()
	}, kfake.DataDir(t.TempDir()))
}

// TestStopWithoutBrokers stops an engine that nobody answers, at any time.
func TestStopWithoutBrokers(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		w.write(500, seeded(t, 1))
		in := w.run()
		w.until("the first results", func() bool { return in.Stats().Records > 0 })
		in.wire.cut()
		time.Sleep(sessionTimeout / 2)
		start := time.Now()
		in.stop(t)
		if d := time.Since(start); d > stopPatience+3*leaveTimeoutForTest {
			t.Errorf("stopping took %s", d)
		}
		next := w.run()
		w.drained()
		next.stop(t)
		w.verify()
	})
}

const leaveTimeoutForTest = time.Second

func TestStart(t *testing.T) {
	t.Parallel()
	for _, start := range []kafka.Start{kafka.Earliest, kafka.Latest} {
		t.Run(string(start), func(t *testing.T) {
			t.Parallel()
			bubble(t, 3, func(t *testing.T, w *world) {
				rng := seeded(t, 1)
				w.write(300, rng)
				in := w.run(func(o *setup) { o.start = start })
				w.until("partitions", func() bool { return len(in.Stats().Lag) == 3 })
				w.write(200, rng)
				want := uint64(500)
				if start == kafka.Latest {
					want = 200
				}
				w.drained()
				in.stop(t)
				if n := in.Stats().Records; n != want {
					t.Errorf("%d records, want %d", n, want)
				}
			})
		})
	}
}

// TestLatestAborted has the first round of a group that starts at the end undone.
func TestLatestAborted(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		rng := seeded(t, 1)
		w.write(300, rng)
		in := w.run(func(o *setup) { o.start = kafka.Latest })
		w.until("partitions", func() bool { return len(in.Stats().Lag) == 1 })
		w.cluster.Fault(mendable()["offsets: generation"])
		w.write(100, rng)
		w.drained()
		in.stop(t)
		if s := in.Stats(); s.Records != 100 || s.Aborts == 0 {
			t.Errorf("%d records, %d aborts", s.Records, s.Aborts)
		}
	})
}

// TestLatestHandsOver has a partition go from one member of a group that starts at the end to another, before anything was
// read of it, or has the group away: what is written meanwhile is not passed over.
func TestLatestHandsOver(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []Guarantee{ExactlyOnce, AtLeastOnce} {
		t.Run(string(guarantee), func(t *testing.T) {
			t.Parallel()
			bubble(t, 2, func(t *testing.T, w *world) {
				latest := func(o *setup) { o.start, o.Guarantee = kafka.Latest, guarantee }
				a := w.run(latest)
				w.until("partitions", func() bool { return len(a.Stats().Lag) == 2 })
				time.Sleep(time.Second)
				unstable := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.UnstableOffsetCommit, Count: -1})
				b := w.run(latest)
				w.until("a partition to go", func() bool { return unstable.Hits() > 3 })
				w.numbers(0, 100)
				time.Sleep(time.Second)
				unstable.Remove()
				w.drained()
				a.stop(t)
				b.stop(t)
				w.numbers(100, 100)
				c := w.run(latest)
				w.drained()
				c.stop(t)
				w.verify()
			})
		})
	}
}

func TestRecordsDeleted(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		rng := seeded(t, 1)
		w.write(300, rng)
		in := w.run()
		w.drained()
		in.stop(t)
		w.write(300, rng)
		if err := w.cluster.DeleteRecords(source, 0, 400); err != nil {
			t.Fatal(err)
		}
		in = w.run()
		w.drained()
		in.stop(t)
		if s := in.Stats(); s.Records != 200 || s.Skipped != 100 {
			t.Errorf("%d records, %d skipped", s.Records, s.Skipped)
		}
		if !strings.Contains(in.log.String(), "records were deleted before they were read") {
			t.Errorf("log:\n%s", in.log)
		}
	})
}

// TestRecordsLost has a group that has committed more than there is.
func TestRecordsLost(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.write(300, seeded(t, 1))
		in := w.run()
		w.drained()
		in.stop(t)
		if err := errors.Join(w.cluster.DeleteTopic(source), w.cluster.CreateTopic(source, 1, nil)); err != nil {
			t.Fatal(err)
		}
		w.cluster.ControlKey(int16(kmsg.OffsetFetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			r, ok := req.(*kmsg.OffsetFetchRequest)
			if !ok {
				return nil, nil, false
			}
			resp := r.ResponseKind().(*kmsg.OffsetFetchResponse) //nolint:errcheck // a wrong type is a panic, as it should be
			for _, g := range r.Groups {
				rg := kmsg.NewOffsetFetchResponseGroup()
				rg.Group = g.Group
				rt := kmsg.NewOffsetFetchResponseGroupTopic()
				rt.Topic, rt.TopicID = source, w.cluster.TopicInfo(source).TopicID
				rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
				rp.Offset = 300
				rt.Partitions = append(rt.Partitions, rp)
				rg.Topics = append(rg.Topics, rt)
				resp.Groups = append(resp.Groups, rg)
			}
			return resp, nil, true
		})
		in = w.run()
		<-in.done
		wantError(t, in.err, kafka.CodeTopicChanged, source)
	})
}

// TestOldBrokers runs against brokers without transaction.version 2.
func TestOldBrokers(t *testing.T) {
	t.Parallel()
	bubble(t, 6, func(t *testing.T, w *world) { w.chaos(seeded(t, 7), short(chaosSteps, chaosSteps/4)) }, kfake.MaxVersions(kversion.V3_6_0()))
}

func TestAccess(t *testing.T) {
	t.Parallel()
	type acl struct {
		kind kmsg.ACLResourceType
		name string
		op   kmsg.ACLOperation
	}
	all := []acl{
		{kmsg.ACLResourceTypeTopic, source, kmsg.ACLOperationRead},
		{kmsg.ACLResourceTypeTopic, sink, kmsg.ACLOperationWrite},
		{kmsg.ACLResourceTypeTopic, letters, kmsg.ACLOperationWrite},
		{kmsg.ACLResourceTypeGroup, group, kmsg.ACLOperationRead},
		{kmsg.ACLResourceTypeTransactionalId, group, kmsg.ACLOperationWrite},
	}
	for missing := -1; missing < len(all); missing++ {
		name := "none"
		if missing >= 0 {
			name = fmt.Sprint(all[missing])
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var acls []kfake.ACL
			for i, a := range all {
				if i == missing {
					continue
				}
				acls = append(acls, kfake.ACL{Resource: a.kind, Name: a.name, Operation: a.op, Pattern: kmsg.ACLResourcePatternTypePrefixed, Allow: true})
			}
			testenv.InTime(t, func(t *testing.T) {
				w := &world{t: t, network: &kfake.VirtualNetwork{}, ports: []int{9092}}
				w.opts = []kfake.Opt{
					kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(w.network.Listen), kfake.SeedTopics(1, source, sink, letters),
					kfake.GroupMinSessionTimeout(time.Second), kfake.EnableSASL(), kfake.EnableACLs(),
					kfake.Superuser("SCRAM-SHA-256", "admin", "a"), kfake.User("SCRAM-SHA-256", "millrace", "m", acls...),
				}
				w.start()
				defer w.cluster.Close()
				client := func(user, password string) *kafka.Client {
					c, err := kafka.New(kafka.Config{Brokers: []string{"localhost:9092"}, Dial: w.network.DialContext, SASL: kafka.SASL{
						Mechanism: kafka.MechanismScramSHA256, Username: user, Password: secret.New(password),
					}})
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
				w.client = client("admin", "a")
				defer w.client.Close()
				p, err := w.client.NewProducer(kafka.ProducerConfig{Topic: source})
				if err != nil {
					t.Fatal(err)
				}
				w.input = p
				defer p.Close()
				w.write(100, seeded(t, 1))
				c := client("millrace", "m")
				defer c.Close()
				e, err := New(options(t, c))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error)
				go func() { done <- e.Run(ctx) }()
				if missing < 0 {
					w.drained()
					cancel()
					if err := <-done; err != nil {
						t.Error(err)
					}
					w.verify()
					return
				}
				err = <-done
				wantError(t, err, kafka.CodeUnauthorized, all[missing].name)
				if k, ok := errors.AsType[*kafka.Error](err); !ok || !strings.Contains(k.Hint, all[missing].name) || k.Code.ExitStatus() != 2 {
					t.Errorf("%+v", k)
				}
			})
		})
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	testenv.InTime(t, func(t *testing.T) {
		network := &kfake.VirtualNetwork{}
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "admin", "a"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse) //nolint:errcheck // a wrong type is a panic, as it should be
			resp.ErrorCode = kerr.SaslAuthenticationFailed.Code         // as Apache Kafka answers
			return resp, nil, true
		})
		cl, err := kafka.New(kafka.Config{Brokers: []string{"localhost:9092"}, Dial: network.DialContext, SASL: kafka.SASL{
			Mechanism: kafka.MechanismScramSHA256, Username: "admin", Password: secret.New("geheim"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		e, err := New(options(t, cl))
		if err != nil {
			t.Fatal(err)
		}
		err = e.Run(t.Context())
		wantError(t, err, kafka.CodeUnauthenticated, "localhost")
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error holds the password: %v", err)
		}
	})
}

// TestNoCredentials talks to brokers that want to know who it is.
func TestNoCredentials(t *testing.T) {
	t.Parallel()
	testenv.InTime(t, func(t *testing.T) {
		network := &kfake.VirtualNetwork{}
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen), kfake.EnableSASL(), kfake.Superuser("PLAIN", "admin", "a"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cl, err := kafka.New(kafka.Config{Brokers: []string{"localhost:9092"}, Dial: network.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		e, err := New(options(t, cl))
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, e.Run(t.Context()), kafka.CodeUnauthenticated, "localhost")
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	check := func(o Options, wants ...string) {
		t.Helper()
		err := o.Validate()
		if err == nil {
			t.Fatal("no error")
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in:\n%v", want, err)
			}
		}
	}
	check(Options{}, "no client", "no program")
	top := stream.New("a")
	in := stream.From(top, "read", stream.String(), stream.String())
	g := stream.GlobalTableFrom(top, "g", "table", stream.String(), stream.String())
	stream.JoinGlobal(in, g, func(k, _ string) (string, bool) { return k, true }, func(a, _ string) string { return a }).To("written")
	p, err := top.Program()
	if err != nil {
		t.Fatal(err)
	}
	// No topology can be declared so.
	p.Globals[0].Topic, p.DeadLetters = "written", "read"
	p.Subs[0].Sinks = append(p.Subs[0].Sinks, task.Sink{Topic: "read"})
	check(Options{Program: p, Guarantee: "perhaps", Threads: -1},
		"no client", "read as a global table", "read, and is the dead-letter topic", "written, and is the dead-letter topic", "guarantee", "negative")
	check(Options{Program: p, StateBytes: 1}, "StateBytes", "1 bytes for state: want at least 16777216")
	check(Options{Program: p, StateBytes: 16 << 20, StateFileBytes: 13 << 20}, "StateFileBytes", "at most 12582912")
}
