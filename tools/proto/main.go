// Command proto generates the Go code of the protocol's messages and service: run it from the repository's folder, or
// with make proto. It compiles the .proto file itself, and gives it to the plugins that are on the PATH.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// The file, and where what is generated from it goes.
const (
	folder = "internal/oip/inference"
	name   = "inference.proto"
	module = "millrace.dev/" + folder
)

func main() {
	if err := generate(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func generate(ctx context.Context) error {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{Accessor: func(path string) (io.ReadCloser, error) { return os.Open(filepath.Join(folder, path)) }},
		SourceInfoMode: protocompile.SourceInfoStandard, // the comments
	}
	files, err := compiler.Compile(ctx, name)
	if err != nil {
		return err
	}
	file := protodesc.ToFileDescriptorProto(files.FindFileByPath(name))
	for plugin, parameter := range map[string]string{
		"protoc-gen-go":         "module=" + module,
		"protoc-gen-connect-go": "module=" + module + ",simple,package_suffix",
	} {
		if err := run(ctx, plugin, &pluginpb.CodeGeneratorRequest{
			FileToGenerate: []string{name}, Parameter: &parameter, ProtoFile: []*descriptorpb.FileDescriptorProto{file},
		}); err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
	}
	return nil
}

// run has a plugin generate its files, and writes them.
func run(ctx context.Context, plugin string, request *pluginpb.CodeGeneratorRequest) error {
	input, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, f := range response.File {
		if err := os.WriteFile(filepath.Join(folder, filepath.FromSlash(f.GetName())), []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
