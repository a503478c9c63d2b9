package app

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// tableData returns the names of the data that the tables of a plan are read from in batch.
func tableData(p *config.Pipeline, plan *feature.Plan) []string {
	var names []string
	for _, of := range plan.Tables() {
		if t := p.Table(of.Name); t != nil {
			name := t.Data
			if name == "" {
				name = source.TopicScheme + t.Topic
			}
			names = append(names, name)
		}
	}
	return names
}

// batchRows reads the tables of a plan for batch: all that is known of them, each with its history, from their data where
// they have some.
func (a *App) batchRows(ctx context.Context, p *config.Pipeline, plan *feature.Plan, client *kafka.Client) (map[string]table.Rows, error) {
	rows, _, err := a.trainingRows(ctx, p, plan, client)
	return rows, err
}

// trainingRows is batchRows, and says where the rows came from.
func (a *App) trainingRows(ctx context.Context, p *config.Pipeline, plan *feature.Plan, client *kafka.Client) (map[string]table.Rows, []model.TableSource, error) {
	return a.readRows(ctx, p, plan, client, func(t *config.Table) bool { return t.Data == "" })
}

// historyRows is batchRows from the topics that run reads, where there are any.
func (a *App) historyRows(ctx context.Context, p *config.Pipeline, plan *feature.Plan, client *kafka.Client) (map[string]table.Rows, error) {
	rows, _, err := a.readRows(ctx, p, plan, client, func(t *config.Table) bool { return t.Topic != "" })
	return rows, err
}

func (a *App) readRows(ctx context.Context, p *config.Pipeline, plan *feature.Plan, client *kafka.Client, fromTopic func(*config.Table) bool) (map[string]table.Rows, []model.TableSource, error) {
	rows := map[string]table.Rows{}
	var sources []model.TableSource
	for _, of := range plan.Tables() {
		t, err := tableOf(p, of)
		if err != nil {
			return nil, nil, err
		}
		source := model.TableSource{Name: t.Name}
		if fromTopic(t) {
			rows[t.Name], err = a.topicRows(ctx, p, t, client, &source)
		} else {
			rows[t.Name], err = a.fileRows(ctx, p, t, client, &source)
		}
		if err != nil {
			return nil, nil, err
		}
		sources = append(sources, source)
	}
	return rows, sources, nil
}

// tableOf returns a table of the pipeline file with the columns that a plan knows.
func tableOf(p *config.Pipeline, of feature.Table) (*config.Table, error) {
	t := p.Table(of.Name)
	if t == nil {
		return nil, fmt.Errorf("the pipeline file has no table %q, which the model was trained with", of.Name)
	}
	own := *t
	own.Schema = of.Schema
	return &own, nil
}

// staticRows reads the tables of a plan that have no topic, for run.
func (a *App) staticRows(ctx context.Context, p *config.Pipeline, plan *feature.Plan, client *kafka.Client) (map[string]table.Rows, error) {
	rows := map[string]table.Rows{}
	for _, of := range plan.Tables() {
		t, err := tableOf(p, of)
		if err != nil {
			return nil, err
		}
		if t.Topic != "" {
			continue
		}
		if rows[t.Name], err = a.fileRows(ctx, p, t, client, &model.TableSource{}); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// fileRows reads the rows of a table from its data.
func (a *App) fileRows(ctx context.Context, p *config.Pipeline, t *config.Table, client *kafka.Client, from *model.TableSource) (table.Rows, error) {
	if strings.EqualFold(filepath.Ext(t.Data), ".mmdb") {
		file, err := os.ReadFile(t.Data)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.Name, err)
		}
		r, err := table.NewRanges(file, table.RangesOptions{Schema: t.Schema})
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.Name, err)
		}
		from.DataName, from.DataDigest = filepath.Base(t.Data), model.Digest(file)
		return r, nil
	}
	schema, key, err := keyedSchema(t)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	validFrom, history := -1, table.Forever
	if i, ok := schema.Index(t.ValidFrom); ok {
		validFrom = i
	}
	if t.History == 0 {
		history = 0
	}
	rows, err := table.New(table.Options{Schema: schema, History: history})
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	data, err := source.Open(ctx, t.Data, source.Options{Schema: schema, Declared: true, MaxBytes: p.Source.MaxRecordBytes, Client: client})
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	added, digest, err := addRows(ctx, rows, data, schema, key, validFrom, p.Source.MaxRecordBytes)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	from.DataName, from.DataDigest = data.Name(), digest
	a.Log.LogAttrs(ctx, slog.LevelDebug, "table read", slog.String("table", t.Name), slog.Int("rows", added.Rows),
		slog.Int("duplicates", added.Duplicates), slog.Int("no_key", added.NoKey), slog.Int("rejected", added.Rejected))
	if added.Rows == 0 || added.Rejected+added.NoKey > added.Rows {
		return nil, &source.DataError{
			Path: t.Data, Unfit: true, Hint: "mend tables." + t.Name + " of the pipeline file, or the data",
			Err: fmt.Errorf("%d rows of the table %s can be read, %d lack the key %s and %d do not fit the schema", added.Rows, t.Name, added.NoKey, t.Key, added.Rejected),
		}
	}
	return rows, nil
}

// keyedSchema returns the schema of a table with its key, as the last field if it is not among the columns: where a row has
// its other columns stays as it is. A numeric key is read as an enum, the texts of which are those of keys.
func keyedSchema(t *config.Table) (*record.Schema, int, error) {
	var fields []record.Field
	for i := range t.Schema.Len() {
		fields = append(fields, t.Schema.Field(i))
	}
	if i, ok := t.Schema.Index(t.Key); ok {
		if typ := t.Schema.Field(i).Type; typ == record.Enum || typ == record.String {
			return t.Schema, i, nil
		}
		return nil, 0, errors.New("the key of a table that is read from a file is an enum or a string: declare " + t.Key + " so, or leave it out of the schema")
	}
	s, err := record.NewSchema(append(fields, record.Field{Name: t.Key, Type: record.Enum})...)
	return s, len(fields), err
}

// addRows adds all rows of a source to a table, and returns the digest of the data.
func addRows(ctx context.Context, rows *table.Table, data *source.Source, schema *record.Schema, key, validFrom, maxBytes int) (sum table.Added, digest string, err error) {
	d, err := pipeline.NewDecoder(schema, pipeline.Options{Format: data.Format(), Header: data.Columns(), MaxBytes: maxBytes})
	if err != nil {
		return sum, "", err
	}
	b := record.NewBatch(schema, nil)
	r := data.Read(ctx)
	defer r.Close() //nolint:errcheck // it was only read
	for {
		if err := ctx.Err(); err != nil {
			return sum, "", err
		}
		more, err := r.Fill(b)
		if err != nil {
			return sum, "", err
		}
		if !more {
			return sum, r.Digest(), nil
		}
		d.Decode(b)
		added, err := rows.AddBatch(b, key, validFrom)
		if err != nil {
			return sum, "", err
		}
		sum.Rows, sum.Duplicates = sum.Rows+added.Rows, sum.Duplicates+added.Duplicates
		sum.NoKey, sum.Rejected = sum.NoKey+added.NoKey, sum.Rejected+added.Rejected
	}
}

// topicRows reads the changelog of a table to its end.
func (a *App) topicRows(ctx context.Context, p *config.Pipeline, t *config.Table, client *kafka.Client, source *model.TableSource) (table.Rows, error) {
	state, err := newTableState(p, t, true)
	if err != nil {
		return nil, err
	}
	from, err := client.StartOffsets(ctx, t.Topic)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	c := &changelog{table: t, state: state}
	err = client.Read(ctx, kafka.ReadConfig{From: map[string]kafka.Offsets{t.Topic: from}}, func(s kafka.Step) error {
		for i := range s.Len() {
			var raw record.Raw
			s.Read(i, &raw)
			c.apply(&raw)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	a.Log.LogAttrs(ctx, slog.LevelDebug, "table read", slog.String("table", t.Name), slog.Int("rows", state.Len()), slog.Int("changes", c.read), slog.Int("refused", c.refused))
	source.DataName, source.DataDigest = t.Topic, c.digest()
	return c.rows()
}

// changelog is a table's topic on its way into the table.
type changelog struct {
	table         *config.Table
	state         *tableState
	hashes        map[int32]hash.Hash // of the records of each partition
	read, refused int
	first         record.Problem // of the records that were refused
}

// apply takes over a record.
func (c *changelog) apply(r *record.Raw) {
	c.read++
	c.hash(r)
	if p := c.state.Apply(r); p != nil {
		if c.refused == 0 {
			c.first = record.Problem(*p)
		}
		c.refused++
	}
}

// hash adds a record to the digest of its partition.
func (c *changelog) hash(r *record.Raw) {
	if c.hashes == nil {
		c.hashes = map[int32]hash.Hash{}
	}
	h := c.hashes[r.Partition]
	if h == nil {
		h = sha256.New()
		c.hashes[r.Partition] = h
	}
	size := func(b []byte) int64 {
		if b == nil {
			return -1
		}
		return int64(len(b))
	}
	head := binary.LittleEndian.AppendUint64(nil, uint64(r.Offset))
	head = binary.LittleEndian.AppendUint64(head, uint64(size(r.Key)))
	h.Write(head)
	h.Write(r.Key)
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(size(r.Value))))
	h.Write(r.Value)
}

// digest returns the SHA-256 over the digests of the partitions that have records, each after its number: partitions are
// read side by side.
func (c *changelog) digest() string {
	var all []byte
	for _, p := range slices.Sorted(maps.Keys(c.hashes)) {
		all = c.hashes[p].Sum(binary.LittleEndian.AppendUint32(all, uint32(p)))
	}
	return model.Digest(all)
}

// rows returns the rows, unless most records could not be read.
func (c *changelog) rows() (table.Rows, error) {
	if c.refused > c.read/2 {
		return nil, &Error{
			Code: Refused, Op: "read table", Where: "tables." + c.table.Name,
			Err:  fmt.Errorf("%d of %d records of the topic %s cannot be read, the first one for %s: %s", c.refused, c.read, c.table.Topic, c.first.Class, c.first.Reason),
			Hint: "mend the format, the key or the schema of the table in the pipeline file",
		}
	}
	return c.state.table, nil
}
