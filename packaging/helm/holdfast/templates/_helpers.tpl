{{- define "holdfast.name" -}}
{{- printf "%s" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- define "holdfast.selector" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "holdfast.labels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
{{- define "holdfast.check" -}}
{{- if and (gt (int .Values.replicas) 1) (eq (dig "slashing_protection" "backend" "sqlite" .Values.config) "sqlite") -}}
{{- fail "replicas above 1 need a shared record: config.slashing_protection.backend postgres or dynamodb. Two signers with a record each sign twice." -}}
{{- end -}}
{{- end -}}
