{{/*
The bridge's configuration as TOML. Helm's toToml writes whole numbers as floats, because values are JSON numbers.
JSON's strings, numbers, booleans and lists are TOML too.
*/}}

{{- define "sluicegate.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "listen" (printf "%s:7400" .Values.address) -}}
{{- $_ := set $config "admin_listen" (printf "%s:7401" .Values.address) -}}
{{- if .Values.gatewaySecret.existingSecret -}}
{{- $_ := set $config "gateway_secret" (dict "file" (printf "/run/secrets/gateway/%s" .Values.gatewaySecret.key)) -}}
{{- end -}}
{{- if .Values.tls.existingSecret -}}
{{- $tls := dict "certificate" "/run/secrets/tls/tls.crt" "key" "/run/secrets/tls/tls.key" -}}
{{- if .Values.tls.clientCA.existingSecret -}}
{{- $_ := set $tls "client_ca" (printf "/run/secrets/client-ca/%s" .Values.tls.clientCA.key) -}}
{{- end -}}
{{- $_ := set $config "tls" $tls -}}
{{- end -}}
{{- include "sluicegate.table" (dict "path" "" "table" $config) | trim -}}
{{- end }}

{{/* A table: first its values, then the tables in it. `path` is its name, or empty for the whole file. */}}
{{- define "sluicegate.table" -}}
{{- $values := list -}}
{{- $tables := dict -}}
{{- range $key, $value := .table -}}
{{- $name := ternary $key (toRawJson $key) (regexMatch "^[A-Za-z0-9_-]+$" $key) -}}
{{- if not (kindIs "map" $value) -}}
{{- $values = append $values (printf "%s = %s" $name (toRawJson $value)) -}}
{{- else if and (hasKey $value "file") (eq (len $value) 1) -}}
{{- $values = append $values (printf "%s = { file = %s }" $name (toRawJson $value.file)) -}}
{{- else -}}
{{- $_ := set $tables $name $value -}}
{{- end -}}
{{- end -}}
{{- if and .path (or $values (not $tables)) }}
[{{ .path }}]
{{ end -}}
{{- range $values }}{{ . }}
{{ end -}}
{{- $path := .path -}}
{{- range $name, $table := $tables -}}
{{- $inner := ternary (printf "%s.%s" $path $name) $name (ne $path "") -}}
{{- include "sluicegate.table" (dict "path" $inner "table" $table) -}}
{{- end -}}
{{- end }}
