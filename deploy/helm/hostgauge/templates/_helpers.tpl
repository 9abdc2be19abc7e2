{{- define "hostgauge.name" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "hostgauge.selector" -}}
app.kubernetes.io/name: hostgauge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "hostgauge.labels" -}}
{{ include "hostgauge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
