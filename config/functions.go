package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// Values of these types exist only between a function and the option that
// takes them.
var (
	storeType = cty.Capsule("store", reflect.TypeFor[Source]())
	scoreType = cty.Capsule("score", reflect.TypeFor[Score]())
)

// outside marks a value that came from the environment or a file, and is
// therefore never printed.
type outside struct{}

// units are the names usable in expressions besides functions.
var units = map[string]Size{"KB": KB, "MB": MB, "GB": GB}

var (
	unitNames     = []string{"GB", "KB", "MB"}
	functionNames = []string{"env", "file", "score", "store"}
)

// maxFile bounds every file read, in octets.
const maxFile = 1 << 20

// Options are what loading takes from the system; zero fields are the system.
type Options struct {
	Env      func(name string) (string, bool)
	ReadFile func(path string) ([]byte, error)
	// Files lists the files of the configuration whose main one is at path, that
	// one first; nil stands for conf.d/*.hcl beside it.
	Files func(path string) ([]string, error)
}

func (o Options) filled() Options {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.Files == nil {
		o.Files = findFiles
	}
	if o.ReadFile == nil {
		o.ReadFile = readFile
	}
	return o
}

// readFile is os.ReadFile for files of sane size.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("read %s: larger than %d octets", path, maxFile)
	}
	return b, nil
}

// context holds the names usable in a file of dir.
func (o Options) context(dir string) *hcl.EvalContext {
	vars := map[string]cty.Value{}
	for name, size := range units {
		vars[name] = cty.NumberIntVal(int64(size))
	}
	return &hcl.EvalContext{
		Variables: vars,
		Functions: map[string]function.Function{
			"env":   textFunction("name", o.env),
			"file":  textFunction("path", func(path string) (string, error) { return o.file(dir, path) }),
			"store": storeFunction(),
			"score": scoreFunction(),
		},
	}
}

func (o Options) env(name string) (string, error) {
	v, ok := o.Env(name)
	if !ok {
		return "", fmt.Errorf("environment variable %s is not set", name)
	}
	return v, nil
}

// file is a file's contents without its final line ending.
func (o Options) file(dir, path string) (string, error) {
	b, err := o.ReadFile(within(dir, path))
	if err != nil {
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return "", fmt.Errorf("read %s: %w", within(dir, path), err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

// textFunction is a function from a string to a string that came from outside.
func textFunction(param string, f func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: param, Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			s, err := f(args[0].AsString())
			if err != nil {
				return cty.NilVal, err
			}
			return cty.StringVal(s).Mark(outside{}), nil
		},
	})
}

func storeFunction() function.Function {
	return function.New(&function.Spec{
		Type: function.StaticReturnType(storeType),
		Impl: func([]cty.Value, cty.Type) (cty.Value, error) {
			s := Store()
			return cty.CapsuleVal(storeType, &s), nil
		},
	})
}

func scoreFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "points", Type: cty.Number}},
		Type:   function.StaticReturnType(scoreType),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			f, _ := args[0].AsBigFloat().Float64()
			s := Score(f)
			return cty.CapsuleVal(scoreType, &s), nil
		},
	})
}

func isFunction(name string) bool { return slices.Contains(functionNames, name) }
