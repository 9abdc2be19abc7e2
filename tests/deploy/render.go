// Renders a Helm chart with the engine that Helm itself has: Go's templates and sprig. Helm cannot be had as a Debian
// package, so what only Helm does (hooks, capabilities, schemas) is not tried.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run render.go CHART KEY=YAML...
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"github.com/ghodss/yaml"
)

func main() {
	log.SetFlags(0)
	chart := os.Args[1]
	values := readYaml(filepath.Join(chart, "values.yaml"))
	for _, setting := range os.Args[2:] {
		key, text, _ := strings.Cut(setting, "=")
		var value interface{}
		must(yaml.Unmarshal([]byte(text), &value))
		set(values, strings.Split(key, "."), value)
	}
	meta := readYaml(filepath.Join(chart, "Chart.yaml"))
	// Helm shows the chart's own fields with capital letters.
	about := map[string]interface{}{"Name": meta["name"], "Version": meta["version"], "AppVersion": meta["appVersion"]}
	data := map[string]interface{}{
		"Values":  values,
		"Chart":   about,
		"Release": map[string]interface{}{"Name": "trial", "Namespace": "default", "Service": "Helm"},
	}

	all := template.New("chart").Option("missingkey=error")
	functions := sprig.TxtFuncMap()
	functions["toYaml"] = func(value interface{}) string {
		text, err := yaml.Marshal(value)
		must(err)
		return strings.TrimSuffix(string(text), "\n")
	}
	functions["toJson"] = func(value interface{}) string {
		text, err := json.Marshal(value)
		must(err)
		return string(text)
	}
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	all.Funcs(functions)
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	must(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(err)
		_, err = all.New(filepath.Base(file)).Parse(string(text))
		must(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); !strings.HasPrefix(name, "_") {
			var out bytes.Buffer
			must(all.ExecuteTemplate(&out, name, data))
			if strings.TrimSpace(out.String()) != "" {
				fmt.Printf("---\n%s", out.String())
			}
		}
	}
}

func set(values map[string]interface{}, path []string, value interface{}) {
	if len(path) == 1 {
		values[path[0]] = value
		return
	}
	inner, ok := values[path[0]].(map[string]interface{})
	if !ok {
		log.Fatalf("the chart has no value %s", path[0])
	}
	set(inner, path[1:], value)
}

func readYaml(file string) map[string]interface{} {
	text, err := os.ReadFile(file)
	must(err)
	var content map[string]interface{}
	must(yaml.Unmarshal(text, &content))
	return content
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
