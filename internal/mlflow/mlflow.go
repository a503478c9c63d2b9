// Package mlflow speaks the REST API of MLflow's model registry, at both ends: [Server] answers a stock MLflow client from
// millrace's registry, and [Client] reads the registry of an MLflow server. docs/mlflow.md says what works, and what is refused.
//
// The paths, the names of fields and the error codes are those of mlflow/protos/model_registry.proto and mlflow/exceptions.py.
package mlflow

import (
	"context"
	"time"
)

// Model is a registered model, as it is shown to clients.
type Model struct {
	Name             string
	Created, Updated time.Time
	Notes
	Aliases  map[string]int // versions by alias, those that millrace derives included
	Versions []Version      // by number, which counts from 1; at least one
}

// Version is a version of a model.
type Version struct {
	Number           int
	State            string // candidate, approved, rejected or retired
	Stage            Stage
	By               string // who registered it
	Created, Updated time.Time
	Digest           string // of the bundle
	Bytes            int64
	Problem          string // why the bundle cannot be fetched; "" is that it can
	Notes
}

// Notes are what people and programs have put beside a model or a version. They decide nothing in millrace.
type Notes struct {
	Tags        map[string]string
	Description string
}

// Stage is MLflow's older word for where a version is in its life.
type Stage string

// The stages.
const (
	StageNone       Stage = "None"       // a candidate
	StageStaging    Stage = "Staging"    // approved, and not the champion
	StageProduction Stage = "Production" // the champion
	StageArchived   Stage = "Archived"   // retired or rejected
)

// Change is something that a client puts beside a model or a version, or takes away.
type Change struct {
	Kind    ChangeKind
	Model   string
	Version int    // 0 is the model itself
	Key     string // of a tag; the alias
	Value   string // of a tag; the description
	Remove  bool   // of a tag or an alias
}

// ChangeKind is what is changed.
type ChangeKind string

// The kinds.
const (
	ChangeTag         ChangeKind = "tag"
	ChangeDescription ChangeKind = "description"
	ChangeAlias       ChangeKind = "alias"
)

// Store is the registry behind a [Server]. It is safe for concurrent use. Its errors reach clients if they are an [*Error]; of
// all others they learn that something has failed.
type Store interface {
	// Models returns all models, by name.
	Models(ctx context.Context) ([]Model, error)
	// Bundle returns the bytes of a version's bundle. The version is one of Models.
	Bundle(ctx context.Context, name string, version int) ([]byte, error)
	// Change makes a change, and notes in the audit log that the sender of the request asked for it: see [auth.From].
	Change(ctx context.Context, c Change) error
}
