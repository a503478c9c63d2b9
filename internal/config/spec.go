package config

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/secret"
)

// kind is the type of a field's value in the file.
type kind uint8

const (
	kindText     kind = iota + 1
	kindPath          // a text that is relative to the file
	kindData          // the same, or a topic
	kindRegistry      // the same, or the address of a bucket
	kindExpression
	kindInteger
	kindNumber
	kindShare // a number, which may be a percentage: 0.01 or 1%
	kindBool
	kindDuration
	kindList
	kindMapping // of fields
	kindNamed   // a mapping whose keys are names that the user chooses
	kindAny     // what the check of the key says
)

func (k kind) String() string {
	return map[kind]string{
		kindText: "text", kindPath: "a path", kindData: "a path or a topic", kindRegistry: "a path or an address", kindExpression: "an expression", kindInteger: "a whole number", kindNumber: "a number",
		kindShare: "a number or a percentage",
		kindBool:  "true or false", kindDuration: "a duration", kindList: "a list", kindMapping: "a mapping", kindNamed: "a mapping of names", kindAny: "see the meaning",
	}[k]
}

// field specifies one key of the pipeline file. The parser, the linter, overrides, the JSON Schema and the reference
// know the keys from here alone.
type field struct {
	key      string
	kind     kind
	doc      string // one sentence for the reference, without a full stop
	example  string // for the hint of a key that is missing
	def      string // the default, as the file would have it; "" is none
	defDoc   string // the default in words, where def cannot say it
	required bool
	secret   bool
	commas   bool     // list: may be one text with commas
	whole    bool     // mapping, as an item of a list: a scalar does not stand for its first field
	allowed  []string // the only values
	bounded  bool     // number: least and most hold
	least    float64  // number: the least value; duration: in nanoseconds; list: the least length
	most     float64
	want     string // number, text: the values that are allowed, where least and most do not say it
	check    func(string) *fault
	fields   []field // mapping
	item     *field  // list, named
	set      func(*Pipeline, value)
}

// wanted describes the values of a number or duration.
func (f *field) wanted() string {
	switch {
	case f.want != "":
		return f.want
	case f.kind == kindShare:
		return fmt.Sprintf("a number from %s to %s, or a percentage", plainNumber(f.least), plainNumber(f.most))
	case f.kind == kindDuration:
		return fmt.Sprintf("a duration from %s to %s", shownDuration(time.Duration(f.least)), shownDuration(time.Duration(f.most)))
	case f.bounded && f.most < math.MaxInt64:
		return fmt.Sprintf("%s from %s to %s", f.kind, plainNumber(f.least), plainNumber(f.most))
	case f.bounded:
		return fmt.Sprintf("%s of at least %s", f.kind, plainNumber(f.least))
	default:
		return f.kind.String()
	}
}

func plainNumber(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// pipelineFields returns the keys of the pipeline file.
func pipelineFields() []field {
	return []field{
		{
			key: "version", kind: kindInteger, required: true, allowed: []string{"1"}, example: "1",
			doc: "The version of the file's form",
			set: func(p *Pipeline, v value) { p.Version = int(v.integer) },
		},
		{
			key: "name", kind: kindText, required: true, check: checkName, example: "house-prices",
			doc: "The name of the pipeline, and of its model in the registry: at most 63 small letters and digits, with hyphens inside",
			set: func(p *Pipeline, v value) { p.Name = v.text },
		},
		{key: "kafka", kind: kindMapping, doc: "How to reach the Kafka cluster", fields: kafkaFields()},
		{key: "schema", kind: kindMapping, required: true, doc: "The fields of a record, by type; a field that is not declared is not read, and is passed on", fields: schemaFields()},
		{key: "source", kind: kindMapping, required: true, doc: "The topic that is read", fields: sourceFields()},
		{
			key: "features", kind: kindNamed, defDoc: "none",
			doc:  "Values computed of each record, the same in training and on the stream: names to expressions over fields and other features",
			item: &field{kind: kindExpression, doc: "An expression over fields and other features"},
			set: func(p *Pipeline, v value) {
				for i, name := range v.names {
					p.Features = append(p.Features, feature.Spec{Name: name, Expr: v.list[i].text})
				}
			},
		},
		{
			key: "tables", kind: kindNamed, defDoc: "none",
			doc:  "Reference data that features look up, as in zipcodes[zip].income: names, of letters, digits and _, to tables",
			item: &field{kind: kindMapping, doc: "A table", fields: tableFields()},
			set:  setTables,
		},
		{
			key: "windows", kind: kindNamed, defDoc: "none",
			doc:  "Aggregates of the records before one, of the same key, for features, as in sales.mean_price: names, of letters, digits and _, to windows",
			item: &field{kind: kindMapping, doc: "A window", fields: windowFields()},
			set:  setWindows,
		},
		{key: "train", kind: kindMapping, required: true, doc: "How the model is trained", fields: trainFields()},
		{key: "model", kind: kindMapping, doc: "Where models are kept, which are taken, and how a pipeline that runs goes over to another one", fields: modelFields()},
		{key: "schedule", kind: kindMapping, doc: "When millrace schedule trains", fields: scheduleFields()},
		{key: "canary", kind: kindMapping, doc: "How millrace model promote --canary lets a model in by steps: see [canaries](../canary.md)", fields: canaryFields()},
		{key: "ab", kind: kindMapping, doc: "Several models at the same time, each for a part of the records: see [A/B tests](../ab.md)", fields: abFields()},
		{key: "outcomes", kind: kindMapping, doc: "How predictions find their labels, which millrace outcomes joins: see [outcomes](../outcomes.md)", fields: outcomesFields()},
		{key: "sink", kind: kindMapping, required: true, doc: "The topic that predictions are written to", fields: sinkFields()},
		{key: "dead_letter", kind: kindMapping, required: true, doc: "Where records go that get no prediction", fields: deadLetterFields()},
		{key: "checks", kind: kindMapping, doc: "What the records of the stream have to be like: each one, and those of a window together", fields: checkFields()},
		{key: "sample_features", kind: kindMapping, doc: "Where millrace run writes, beside the predictions, what it knew of some records, for millrace verify", fields: []field{
			{
				key: "topic", kind: kindText, check: checkTopic, defDoc: "the name, with .features behind", example: "housing.features",
				doc: "The topic of the samples, one record for each; without samples it need not exist",
				set: func(p *Pipeline, v value) { p.Samples.Topic = v.text },
			},
			{
				key: "rate", kind: kindNumber, def: "0", bounded: true, least: 0, most: 1, example: "0.01",
				doc: "The share of the predicted records that are sampled, by their topic, partition and offset; 0 is none",
				set: func(p *Pipeline, v value) { p.Samples.Rate = v.number },
			},
		}},
		{key: "state", kind: kindMapping, doc: "Where millrace run keeps the rows of tables that are partitioned, and what windows know", fields: []field{{
			key: "dir", kind: kindPath, defDoc: "the folder state/GROUP beside the file",
			doc: "The folder of the state, for one process alone; it can be deleted while that does not run, and is then restored from Kafka",
			set: func(p *Pipeline, v value) { p.State.Dir = v.text },
		}}},
		{key: "shadow", kind: kindMapping, doc: "Where millrace shadow writes what a candidate predicts of the production topic, and how far that may be from production", fields: shadowFields()},
		{key: "serve", kind: kindMapping, doc: "How millrace serve answers requests, and whose: see [the security of serving](../serve_security.md)", fields: serveFields()},
		{key: "query", kind: kindMapping, doc: "Whether and how the rows of stores can be read while millrace run runs: see [queries](../queries.md)", fields: queryFields()},
		{
			key: "tests", kind: kindList, defDoc: "none",
			doc:  "Records with what the pipeline has to make of them, for millrace test",
			item: &field{kind: kindMapping, whole: true, doc: "A test", fields: testFields()},
		},
		{
			key: "guarantee", kind: kindText, def: string(ExactlyOnce), allowed: []string{string(ExactlyOnce), string(AtLeastOnce)},
			doc: "How often a prediction is committed: exactly_once uses transactions; at_least_once may repeat a prediction after a crash",
			set: func(p *Pipeline, v value) { p.Guarantee = Guarantee(v.text) },
		},
		{
			key: "group", kind: kindText, defDoc: "the name", check: checkGroup,
			doc: "The consumer group: instances with the same group share the partitions of the source",
			set: func(p *Pipeline, v value) { p.Group = v.text },
		},
		{
			key: "commit_interval", kind: kindDuration, def: "100ms", least: float64(10 * time.Millisecond), most: float64(30 * time.Second),
			doc: "How long predictions wait at most until they are committed: shorter is a lower latency, longer a higher throughput",
			set: func(p *Pipeline, v value) { p.CommitInterval = v.time },
		},
	}
}

func modelFields() []field {
	return []field{
		{
			key: "registry", kind: kindRegistry, def: "models",
			doc: "The folder of the model registry, relative to the file, or a bucket: `s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION`, with credentials from the environment",
			set: func(p *Pipeline, v value) { p.Model.Registry = v.text },
		},
		{
			key: "root", kind: kindPath, defDoc: "none: everybody may decide, and nothing is signed", example: "root.json",
			doc: "The root document, which says who may approve: signatures are demanded, and checked beginning with it; see docs/approval.md",
			set: func(p *Pipeline, v value) { p.Model.Root = v.text },
		},
		{
			key: "update", kind: kindText, def: string(HotSwap), allowed: []string{string(HotSwap), string(Rolling), string(RestartUpdate)},
			doc: "How instances that run go over to a model that is promoted: hot_swap between two commits; rolling one instance after the other, each leaving the group meanwhile; restart when they are started again",
			set: func(p *Pipeline, v value) { p.Model.Update = Update(v.text) },
		},
		acceptField(),
		remoteField(),
	}
}

func kafkaFields() []field {
	return []field{
		{
			key: "brokers", kind: kindList, commas: true, least: 1, def: "localhost:9092",
			doc:  "The brokers to start from, as a list or as one text with commas; the port is 9092 where there is none",
			item: &field{kind: kindText, check: checkBroker, doc: "A broker, host:port"},
			set: func(p *Pipeline, v value) {
				p.Kafka.Brokers = nil
				for _, b := range v.texts() {
					p.Kafka.Brokers = append(p.Kafka.Brokers, brokerAddress(b))
				}
			},
		},
		{key: "tls", kind: kindMapping, doc: "Encryption of the connections", fields: []field{
			{
				key: "enabled", kind: kindBool, def: "false", doc: "Whether connections use TLS",
				set: func(p *Pipeline, v value) { p.Kafka.TLS.Enabled = v.yes },
			},
			{
				key: "ca_file", kind: kindPath, defDoc: "the certificate authorities of the system",
				doc: "The certificates of the authorities that brokers are checked against, PEM",
				set: func(p *Pipeline, v value) { p.Kafka.TLS.CAFile = v.text },
			},
			{
				key: "cert_file", kind: kindPath, defDoc: "none", doc: "The certificate that the client shows, PEM",
				set: func(p *Pipeline, v value) { p.Kafka.TLS.CertFile = v.text },
			},
			{
				key: "key_file", kind: kindPath, defDoc: "none", doc: "The key of that certificate, PEM",
				set: func(p *Pipeline, v value) { p.Kafka.TLS.KeyFile = v.text },
			},
		}},
		{key: "sasl", kind: kindMapping, doc: "How the client says who it is; without it, it does not", fields: []field{
			{
				key: "mechanism", kind: kindText, required: true, allowed: []string{"plain", "scram-sha-256", "scram-sha-512"}, example: "scram-sha-512",
				doc: "The SASL mechanism",
				set: func(p *Pipeline, v value) { p.Kafka.SASL.Mechanism = v.text },
			},
			{
				key: "username", kind: kindText, required: true, example: "millrace", doc: "The user's name",
				set: func(p *Pipeline, v value) { p.Kafka.SASL.Username = v.text },
			},
			{
				key: "password", kind: kindText, secret: true, defDoc: "none",
				doc: "The password, as the name of an environment variable in ${ } and nothing else",
				set: func(p *Pipeline, v value) { p.Kafka.SASL.Password = secret.New(v.text) },
			},
			{
				key: "password_file", kind: kindPath, defDoc: "none",
				doc: "The file that holds the password; a line break at its end is not part of it",
				set: func(p *Pipeline, v value) { p.Kafka.SASL.PasswordFile = v.text },
			},
		}},
	}
}

// columnFields are the keys that declare columns by type: of records, and of the rows of a table.
func columnFields() []field {
	name := field{key: "name", kind: kindText, required: true, doc: "The field's name in the record", example: "date"}
	names := func(key, doc string, more ...field) field {
		return field{key: key, kind: kindList, defDoc: "none", doc: doc, item: &field{kind: kindMapping, doc: "A name, or a mapping", fields: append([]field{name}, more...)}}
	}
	return []field{
		names(
			"time", "Fields that hold an instant",
			field{
				key: "layouts", kind: kindList, defDoc: "RFC 3339, 2006-01-02 15:04:05 and 2006-01-02", least: 1,
				doc:  "The forms that are accepted, tried in order: layouts of Go's package time, or unix, unix_ms, unix_us or unix_day for a number",
				item: &field{kind: kindText, check: checkLayout, doc: "A layout"},
			},
			field{
				key: "zone", kind: kindText, def: "UTC", check: checkZone,
				doc: "The time zone of values that carry none, by its IANA name",
			},
		),
		names(
			"numeric", "Fields that hold a number",
			field{key: "quoted", kind: kindBool, def: "false", doc: "Whether the number may stand in quotes in JSON"},
		),
		names("enum", "Fields that hold one of a few texts, such as a city"),
		names("string", "Fields that hold any text"),
	}
}

func schemaFields() []field {
	return append(columnFields(), []field{
		{
			key: "required", kind: kindList, defDoc: "none",
			doc:  "The names of the fields that a record must have: without one it gets no prediction and goes to dead_letter; any other field may be missing",
			item: &field{kind: kindText, doc: "The name of a field"},
		},
	}...)
}

func sourceFields() []field {
	return []field{
		{
			key: "topic", kind: kindText, required: true, check: checkTopic, example: "housing", doc: "The topic to read",
			set: func(p *Pipeline, v value) { p.Source.Topic = v.text },
		},
		{
			key: "format", kind: kindText, def: "json", allowed: []string{"json"}, doc: "The format of a record's value",
			set: func(p *Pipeline, v value) { p.Source.Format = v.text },
		},
		{
			key: "max_record_bytes", kind: kindInteger, def: "1048576", bounded: true, least: 1, most: 1 << 30,
			doc: "The size in bytes beyond which a record's value goes to dead_letter unread",
			set: func(p *Pipeline, v value) { p.Source.MaxRecordBytes = int(v.integer) },
		},
		{
			key: "start", kind: kindText, def: "earliest", allowed: []string{"earliest", "latest"},
			doc: "Where a consumer group begins that has committed nothing yet",
			set: func(p *Pipeline, v value) { p.Source.Start = v.text },
		},
		{
			key: "key", kind: kindText, defDoc: "none is known", example: "id",
			doc: "The field whose text is the key of the records in the topic: a window of that key, or a partitioned table, finds its records in one partition",
			set: func(p *Pipeline, v value) { p.Source.Key = v.text },
		},
		{
			key: "event_time", kind: kindText, defDoc: "the timestamps of the topic's records", example: "date",
			doc: "The time field that is the event time of a record, for windows and for tables with a history",
			set: func(p *Pipeline, v value) { p.Source.EventTime = v.text },
		},
	}
}

func sinkFields() []field {
	return []field{
		{
			key: "topic", kind: kindText, required: true, check: checkTopic, example: "predictions", doc: "The topic to write",
			set: func(p *Pipeline, v value) { p.Sink.Topic = v.text },
		},
		{
			key: "format", kind: kindText, def: "json", allowed: []string{"json"},
			doc: "The format of a prediction: the record as it came, with one more field",
			set: func(p *Pipeline, v value) { p.Sink.Format = v.text },
		},
		{
			key: "field", kind: kindText, def: "prediction",
			doc: "The field that holds the prediction; a record that has it already goes to dead_letter",
			set: func(p *Pipeline, v value) { p.Sink.Field = v.text },
		},
	}
}

func trainFields() []field {
	share := func(key, def, doc string, set func(*Pipeline, value)) field {
		return field{key: key, kind: kindNumber, def: def, doc: doc, set: set}
	}
	return []field{
		{
			key: "data", kind: kindData, required: true, check: checkData, example: "houses.csv",
			doc: "The labelled data: a file of CSV, JSON lines or Parquet, a pattern of files, or the range of a topic, topic://NAME?from=A&to=B",
			set: func(p *Pipeline, v value) { p.Train.Data = v.text },
		},
		{key: "labels", kind: kindMapping, doc: "Where the label comes from, if the data does not have it", fields: []field{
			{
				key: "data", kind: kindData, required: true, check: checkData, example: "topic://housing.sold",
				doc: "The data with the labels, in the forms of train.data",
				set: func(p *Pipeline, v value) { p.Train.Labels.Data = v.text },
			},
			{
				key: "key", kind: kindText, defDoc: "the keys of the messages, where both are topics", example: "id",
				doc: "The enum or string field, of both, by which a record finds its label",
				set: func(p *Pipeline, v value) { p.Train.Labels.Key = v.text },
			},
			{
				key: "field", kind: kindText, defDoc: "the name of the label", example: "price",
				doc: "The field that has the label",
				set: func(p *Pipeline, v value) { p.Train.Labels.Field = v.text },
			},
		}},
		{
			key: "where", kind: kindExpression, defDoc: "every row",
			doc: "The expression over fields that a row must fulfil to be used; a row for which it is missing is not used",
			set: func(p *Pipeline, v value) { p.Train.Where = v.text },
		},
		{
			key: "label", kind: kindText, required: true, example: "price", doc: "The numeric field that the model predicts",
			set: func(p *Pipeline, v value) { p.Train.Label = v.text },
		},
		{
			key: "label_unit", kind: kindText, check: checkUnit, defDoc: "none", example: "$",
			doc: "The unit of the label, as people write it, for reports of the model",
			set: func(p *Pipeline, v value) { p.Train.LabelUnit = v.text },
		},
		{
			key: "ignore", kind: kindList, defDoc: "none",
			doc:  "The fields and features that are no inputs of the model; every time and string field must be among them",
			item: &field{kind: kindText, doc: "The name of a field or feature"},
			set:  func(p *Pipeline, v value) { p.Train.Ignore = v.texts() },
		},
		{key: "split", kind: kindMapping, doc: "The random division of the rows; the three shares sum to 1", fields: []field{
			share("train", "0.7", "The share of the rows that trees are grown on", func(p *Pipeline, v value) { p.Train.Split.Train = v.number }),
			share("validation", "0.2", "The share of the rows that decides when to stop", func(p *Pipeline, v value) { p.Train.Split.Validation = v.number }),
			share("test", "0.1", "The share of the rows that only the last metrics see", func(p *Pipeline, v value) { p.Train.Split.Test = v.number }),
			{
				key: "seed", kind: kindInteger, def: "42", bounded: true, least: 0, most: math.MaxInt64, doc: "The seed of the division",
				set: func(p *Pipeline, v value) { p.Train.Split.Seed = uint64(v.integer) },
			},
		}},
		{key: "gbm", kind: kindMapping, doc: "The parameters of the gradient boosting machine, under H2O's names", fields: gbmFields()},
	}
}

// gbmDefaults are the defaults of train.gbm: those of package gbm, but for early stopping, since a pipeline always has
// validation rows and they are there to say when to stop.
func gbmDefaults() gbm.Params {
	p := gbm.DefaultParams()
	p.StoppingRounds = 20
	return p
}

// gbmFields makes the keys of train.gbm of gbm.Params: names, types and ranges are its own.
func gbmFields() []field {
	defaults, ranges := gbmDefaults(), gbmRanges()
	v := reflect.ValueOf(&defaults).Elem()
	fields := make([]field, 0, v.NumField())
	for i := range v.NumField() {
		key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f := field{key: key, doc: gbmDoc(key), want: ranges[key]}
		switch x := v.Field(i); x.Kind() {
		case reflect.Float64:
			f.kind, f.def = kindNumber, plainNumber(x.Float())
			f.set = func(p *Pipeline, v value) { setParam(p, i).SetFloat(v.number) }
		case reflect.String:
			f.kind, f.allowed = kindText, gbmChoices(key)
			f.def = cmp.Or(x.String(), f.allowed[0])
			f.set = func(p *Pipeline, v value) { setParam(p, i).SetString(gbmText(v.text)) }
		default:
			f.kind, f.def = kindInteger, strconv.FormatInt(x.Int(), 10)
			f.set = func(p *Pipeline, v value) { setParam(p, i).SetInt(v.integer) }
		}
		fields = append(fields, f)
	}
	return fields
}
