// Prints the protobuf schema of the built-in kinds of Kubernetes for src/api/src/protobuf/schema.txt, read from the
// Go types by reflection: field numbers, JSON names, and which zero values JSON leaves out.
//
//	cd scripts/protobuf-schema && go run . > ../../src/api/src/protobuf/schema.txt
//
// One line per message: its name, then its fields as `name:number:type`. A type is s (string), b (bool), i (integer),
// d (double), y (bytes), m and the name of a message, or w and a type (a message that is a list in JSON). In front of it stand * (list),
// % (map with string keys), ^ (its fields are those of the outer object), ? (a zero is a value), ! (JSON shows the zero).
package main

import (
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

var packages = []func(*runtime.Scheme) error{
	admissionv1.AddToScheme, admissionregistrationv1.AddToScheme, apidiscoveryv2.AddToScheme, appsv1.AddToScheme, authenticationv1.AddToScheme,
	authorizationv1.AddToScheme, autoscalingv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme,
	certificatesv1.AddToScheme, coordinationv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme,
	eventsv1.AddToScheme, flowcontrolv1.AddToScheme, networkingv1.AddToScheme, nodev1.AddToScheme,
	policyv1.AddToScheme, rbacv1.AddToScheme, resourcev1.AddToScheme, schedulingv1.AddToScheme,
	storagev1.AddToScheme, apiextensionsv1.AddToScheme, apiregistrationv1.AddToScheme,
}

var messages = map[string]string{}

// name of a type: the last two parts of its package and its own, such as core.v1.Pod.
func name(t reflect.Type) string {
	parts := strings.Split(t.PkgPath(), "/")
	if len(parts) > 1 {
		parts = parts[len(parts)-2:]
	}
	return strings.Join(parts, ".") + "." + t.Name()
}

func isMessage(t reflect.Type) bool {
	_, ok := reflect.PointerTo(t).MethodByName("Unmarshal")
	return ok
}

func typeOf(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return typeOf(t.Elem())
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "y"
	case t.Kind() == reflect.Slice && isMessage(t):
		return "w" + typeOf(t.Elem())
	case t.Kind() == reflect.Struct:
		message(t)
		return "m" + name(t)
	}
	switch t.Kind() {
	case reflect.String:
		return "s"
	case reflect.Bool:
		return "b"
	case reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Uint64, reflect.Int:
		return "i"
	case reflect.Float64:
		return "d"
	}
	panic(fmt.Sprintf("no type for %v", t))
}

func message(t reflect.Type) {
	if _, done := messages[name(t)]; done {
		return
	}
	messages[name(t)] = ""
	var line strings.Builder
	for i := 0; i < t.NumField(); i++ {
		field := t.Field(i)
		tag := field.Tag.Get("protobuf")
		if tag == "" || tag == "-" {
			continue
		}
		number := strings.Split(tag, ",")[1]
		json := strings.Split(field.Tag.Get("json"), ",")
		flags := ""
		switch {
		case field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() != reflect.Uint8 && !isMessage(field.Type):
			flags = "*" + typeOf(field.Type.Elem())
		case field.Type.Kind() == reflect.Map:
			flags = "%" + typeOf(field.Type.Elem())
		default:
			flags = typeOf(field.Type)
		}
		if field.Type.Kind() == reflect.Pointer {
			flags = "?" + flags
		} else if !strings.Contains(field.Tag.Get("json"), "omitempty") {
			flags = "!" + flags
		}
		if field.Anonymous && json[0] == "" {
			flags = "^" + strings.TrimLeft(flags, "!?")
			json[0] = field.Name
		}
		fmt.Fprintf(&line, " %s:%s:%s", json[0], number, flags)
	}
	messages[name(t)] = line.String()
}

func main() {
	scheme := runtime.NewScheme()
	for _, add := range packages {
		if err := add(scheme); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	for gvk, t := range scheme.AllKnownTypes() {
		if gvk.Version != runtime.APIVersionInternal {
			message(t)
		}
	}
	message(reflect.TypeOf(metav1.Status{}))
	message(reflect.TypeOf(metav1.PartialObjectMetadata{}))
	message(reflect.TypeOf(metav1.PartialObjectMetadataList{}))
	names := make([]string, 0, len(messages))
	for name := range messages {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Println(name + messages[name])
	}
}
