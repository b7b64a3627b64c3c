{{- define "apprentice.name" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "apprentice.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "apprentice.labels" -}}
{{ include "apprentice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "apprentice.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "apprentice.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "apprentice.webImage" -}}
{{ .Values.images.web.repository }}:{{ .Values.images.web.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "apprentice.workerImage" -}}
{{ .Values.images.worker.repository }}:{{ .Values.images.worker.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "apprentice.publicUrl" -}}
{{- if .Values.backend.publicUrl -}}
{{ .Values.backend.publicUrl }}
{{- else if .Values.ingress.enabled -}}
http{{ if .Values.ingress.tlsSecret }}s{{ end }}://{{ .Values.ingress.host }}
{{- else -}}
http://{{ include "apprentice.name" . }}.{{ .Release.Namespace }}.svc:{{ .Values.service.port }}
{{- end -}}
{{- end -}}

{{- define "apprentice.environment" -}}
- {name: APPRENTICE_HOME, value: /data}
- {name: APPRENTICE_PORT, value: "9090"}
- {name: APPRENTICE_PUBLIC_URL, value: {{ include "apprentice.publicUrl" . | quote }}}
- name: APPRENTICE_DATABASE_URL
  value: {{ printf "postgresql+psycopg://%s@%s:%d/%s" (.Values.database.user | urlquery) .Values.database.host (int .Values.database.port) .Values.database.name | quote }}
- {name: PGSSLMODE, value: {{ .Values.database.sslMode }}}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.database.existingSecret }}, key: {{ .Values.database.passwordKey }}}
- name: APPRENTICE_REDIS_URL
  value: {{ printf "redis%s://%s%s:%d/%d" (ternary "s" "" .Values.redis.tls) (ternary (printf "%s@" (.Values.redis.user | urlquery)) "" (ne .Values.redis.user "")) .Values.redis.host (int .Values.redis.port) (int .Values.redis.database) | quote }}
{{- if .Values.redis.existingSecret }}
- name: APPRENTICE_REDIS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.redis.existingSecret }}, key: {{ .Values.redis.passwordKey }}}
{{- end }}
{{- if .Values.redis.caSecret }}
- {name: APPRENTICE_REDIS_CA_FILE, value: /etc/apprentice/redis/{{ .Values.redis.caKey }}}
{{- end }}
- {name: APPRENTICE_STORAGE_URL, value: {{ .Values.storage.url | quote }}}
{{- with .Values.storage.region }}
- {name: AWS_DEFAULT_REGION, value: {{ . | quote }}}
{{- end }}
{{- with .Values.storage.endpoint }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- if .Values.storage.existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef: {name: {{ .Values.storage.existingSecret }}, key: {{ .Values.storage.accessKeyKey }}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef: {name: {{ .Values.storage.existingSecret }}, key: {{ .Values.storage.secretKeyKey }}}
{{- end }}
{{- if .Values.labelStudio.url }}
- {name: LABEL_STUDIO_URL, value: {{ .Values.labelStudio.url | quote }}}
{{- if .Values.labelStudio.existingSecret }}
- name: LABEL_STUDIO_API_KEY
  valueFrom:
    secretKeyRef: {name: {{ .Values.labelStudio.existingSecret }}, key: {{ .Values.labelStudio.tokenKey }}}
{{- end }}
{{- end }}
- {name: BASIC_AUTH_USER, value: {{ .Values.auth.user | quote }}}
- name: BASIC_AUTH_PASS
  valueFrom:
    secretKeyRef: {name: {{ .Values.auth.existingSecret }}, key: {{ .Values.auth.passwordKey }}}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end -}}

{{- define "apprentice.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "apprentice.mounts" -}}
- {name: home, mountPath: /data}
- {name: scratch, mountPath: /tmp}
- {name: shared-memory, mountPath: /dev/shm}
{{- if .Values.redis.caSecret }}
- {name: redis-ca, mountPath: /etc/apprentice/redis, readOnly: true}
{{- end }}
{{- end -}}

{{/* The parts of a pod that all have; "size" is of its folder. */}}
{{- define "apprentice.pod" -}}
{{- $ := .root -}}
serviceAccountName: {{ include "apprentice.serviceAccount" $ }}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with $.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
volumes:
  - name: home
    emptyDir: {sizeLimit: {{ .size }}}
  - name: scratch
    emptyDir: {}
  - name: shared-memory
    emptyDir: {medium: Memory, sizeLimit: 1Gi}
  {{- if $.Values.redis.caSecret }}
  - name: redis-ca
    secret: {secretName: {{ $.Values.redis.caSecret }}}
  {{- end }}
{{- end -}}

{{/* A worker's container: "queue", "burst", "resources", "gpu". */}}
{{- define "apprentice.worker" -}}
{{- $ := .root -}}
- name: worker
  image: {{ include "apprentice.workerImage" $ | quote }}
  imagePullPolicy: {{ $.Values.images.pullPolicy }}
  args: [worker, {{ .queue }}{{ if .burst }}, --burst{{ end }}]
  env:
    {{- include "apprentice.environment" $ | nindent 4 }}
    {{- if .gpu.enabled }}
    - {name: APPRENTICE_DEVICE, value: cuda}
    {{- end }}
  {{- $resources := deepCopy .resources }}
  {{- if .gpu.enabled }}
  {{- $gpu := dict .gpu.resource (int .gpu.count) }}
  {{- $resources = merge $resources (dict "limits" $gpu "requests" $gpu) }}
  {{- end }}
  resources:
    {{- toYaml $resources | nindent 4 }}
  securityContext:
    {{- include "apprentice.containerSecurity" $ | nindent 4 }}
  volumeMounts:
    {{- include "apprentice.mounts" $ | nindent 4 }}
{{- end -}}
