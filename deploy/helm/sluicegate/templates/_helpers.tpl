{{/* Names, labels, and the rules that join several values. */}}

{{- define "sluicegate.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $joined := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $joined .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "sluicegate.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sluicegate.labels" -}}
{{ include "sluicegate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: bridge
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "sluicegate.serviceAccountName" -}}
{{- $created := ternary (include "sluicegate.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $created .Values.serviceAccount.name -}}
{{- end }}

{{- define "sluicegate.image" -}}
{{- with .Values.image -}}
{{- $tag := default $.Chart.AppVersion .tag -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ $tag }}{{ end -}}
{{- end -}}
{{- end }}

{{/* The preStop delay, the bridge's drain, and five seconds to exit. Rounded up to whole seconds. */}}
{{- define "sluicegate.gracePeriod" -}}
{{- $session := default dict .Values.config.session -}}
{{- $drain := default 10000 $session.drain_timeout_ms | int -}}
{{- add .Values.drain.delaySeconds (div (add $drain 999) 1000) 5 -}}
{{- end }}

{{/* Mounted Secrets, as a JSON object from names under /run/secrets to Secrets. */}}
{{- define "sluicegate.mounts" -}}
{{- $mounts := deepCopy .Values.secrets -}}
{{- with .Values.gatewaySecret.existingSecret }}{{ $_ := set $mounts "gateway" . }}{{ end -}}
{{- with .Values.tls.existingSecret }}{{ $_ := set $mounts "tls" . }}{{ end -}}
{{- with .Values.tls.clientCA.existingSecret }}{{ $_ := set $mounts "client-ca" . }}{{ end -}}
{{- toJson $mounts -}}
{{- end }}

{{/* Mistakes that the schema cannot explain well. */}}
{{- define "sluicegate.check" -}}
{{- $ca := .Values.tls.clientCA.existingSecret -}}
{{- if and $ca (not .Values.tls.existingSecret) -}}
{{- fail "tls.clientCA needs tls.existingSecret, the bridge's own certificate" -}}
{{- end -}}
{{- if not (or .Values.gatewaySecret.existingSecret $ca) -}}
{{- fail "gateways must authenticate: set gatewaySecret.existingSecret to a Secret with the key gateway-secret, or tls.clientCA.existingSecret" -}}
{{- end -}}
{{- if and (not .Values.config.clusters) (not .Values.config.route_clusters) -}}
{{- fail "no cluster: set config.clusters.default, with \"bootstrap.servers\", or with \"kind\" and \"servers\" for NATS" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring) -}}
{{- fail "serviceMonitor.enabled needs networkPolicy.monitoring, the peers of your Prometheus, or it could not reach the admin port" -}}
{{- end -}}
{{- if and .Values.service.headless (ne .Values.service.type "ClusterIP") -}}
{{- fail "service.headless needs service.type ClusterIP" -}}
{{- end -}}
{{- end }}
